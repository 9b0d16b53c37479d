// Sends the calls of the viewer through the dashboard, which adds the key of the session.
(() => {
  "use strict";
  const place = document.querySelector("#api");
  const send = window.fetch.bind(window);
  Scalar.createApiReference("#api", {
    url: "/openapi.json",
    servers: [{ url: "/dashboard/api" }],
    fetch: (input, options) => {
      const request = new Request(input, options);
      if (new URL(request.url).origin === location.origin) request.headers.set("X-CSRF-Token", place.dataset.csrf);
      return send(request);
    },
    withDefaultFonts: false,
    hideClientButton: true,
    telemetry: false,
    showDeveloperTools: "never",
    agent: { disabled: true },
    mcp: { disabled: true },
    defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  });
})();
