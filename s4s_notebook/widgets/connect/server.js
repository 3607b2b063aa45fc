// What a panel asks of our pages on the Jupyter server (s4s_notebook/jupyter).

// Where this page's Jupyter server is, or "" where there is none that we know.
export function serverBase() {
  const config = document.getElementById("jupyter-config-data");
  try {
    const base = JSON.parse(config?.textContent ?? "{}").baseUrl;
    return base ? new URL(base, location.href).pathname : "";
  } catch {
    return "";
  }
}

// Jupyter checks it at GET too where the login is a cookie, as on every hub.
function xsrfHeader() {
  const xsrf = /(?:^|; )_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  return xsrf ? { "X-XSRFToken": decodeURIComponent(xsrf) } : {};
}

export async function serverHasOurPages(base) {
  if (!base) return false;
  try {
    const url = `${base}s4s/status`;
    const reply = await fetch(url, { credentials: "same-origin", headers: xsrfHeader() });
    return reply.ok && typeof (await reply.json()).s4s === "string";
  } catch {
    return false;
  }
}

// Hand something to a waiting kernel by way of the server; false where that cannot be done.
export async function post(base, path, content) {
  const headers = { "Content-Type": "application/json", ...xsrfHeader() };
  try {
    const body = JSON.stringify(content);
    const url = `${base}s4s/${path}`;
    return (await fetch(url, { method: "POST", credentials: "same-origin", headers, body })).ok;
  } catch {
    return false;
  }
}
