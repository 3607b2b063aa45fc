// Calls of our pages on the Jupyter server (s4s_notebook/jupyter).

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

const settings = ServerConnection.makeSettings();

async function call(
  place: string,
  query: Record<string, string>,
  init: RequestInit
): Promise<Response> {
  const url =
    URLExt.join(settings.baseUrl, 's4s', place) +
    URLExt.objectToQueryString(query);
  const reply = await ServerConnection.makeRequest(url, init, settings);
  if (!reply.ok) {
    const text = await reply.text();
    let message = '';
    try {
      message = String(JSON.parse(text).message ?? '');
    } catch {
      // Not one of our answers, so there is nothing in it to show.
    }
    throw new Error(message || `The server answered ${reply.status}.`);
  }
  return reply;
}

/** Ask with a JSON body; the answer is JSON. */
export async function post<T>(place: string, body: object): Promise<T> {
  const init = { method: 'POST', body: JSON.stringify(body) };
  return (await call(place, {}, init)).json();
}

/** Ask for one binary message: the length of its JSON, the JSON, and the buffers after it. */
export async function message(
  place: string,
  query: Record<string, string>
): Promise<[Record<string, any>, DataView[]]> {
  const reply = await call(place, query, { method: 'GET' });
  const bytes = await reply.arrayBuffer();
  const head = new DataView(bytes).getUint32(0);
  const json = JSON.parse(
    new TextDecoder().decode(new Uint8Array(bytes, 4, head))
  );
  if (json.error) {
    throw new Error(json.error);
  }
  let at = 4 + head;
  const buffers = (json.sizes as number[]).map(size => {
    // A copy: typed arrays want their bytes aligned.
    const view = new DataView(bytes.slice(at, at + size));
    at += size;
    return view;
  });
  return [json, buffers];
}
