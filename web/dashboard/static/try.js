// The viewer shows the addresses of the API, so that its curl can be copied. What it sends itself goes through the dashboard,
// which adds the key of the session.
(() => {
  "use strict";
  const place = document.querySelector("#api");
  const throughTheDashboard = async (request) => {
    const url = new URL(request.url);
    if (url.origin !== location.origin) return request;
    url.pathname = `/dashboard/api${url.pathname}`;
    const headers = new Headers(request.headers);
    headers.set("X-CSRF-Token", place.dataset.csrf);
    // A body that is passed on as a stream needs HTTP/2.
    const body = ["GET", "HEAD"].includes(request.method) ? undefined : await request.arrayBuffer();
    return new Request(url, { method: request.method, headers, body });
  };
  Scalar.createApiReference("#api", {
    url: "/openapi.json",
    servers: [{ url: location.origin }],
    onBeforeRequest: async ({ request }) => ({ request: await throughTheDashboard(request) }),
    withDefaultFonts: false,
    hideClientButton: true,
    telemetry: false,
    showDeveloperTools: "never",
    agent: { disabled: true },
    mcp: { disabled: true },
    defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  });
})();
