// Where an Authorise link leads: our pages on the Jupyter server, a listener, or the holder.

import { serverBase, serverHasOurPages } from "./server.js";

export const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

// What the Authorise link leads to. The kernel is asked only where the server cannot help.
export async function findRoute(picture, line) {
  const base = serverBase();
  if (picture.panel && (await serverHasOurPages(base))) {
    const origin = encodeURIComponent(location.origin);
    return { href: `${base}s4s/start/${picture.panel}?origin=${origin}`, paste: false };
  }
  if (LOOPBACK.has(location.hostname) || location.protocol === "vscode-webview:") {
    if (picture.local) return { href: picture.local, paste: false };
    line.send({ do: "listen" });
    return null; // the panel is drawn again when it listens
  }
  line.send({ do: "link" });
  return null; // the link comes as a message, for it must not be saved
}

export function isWebAddress(text) {
  try {
    return ["http:", "https:"].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}
