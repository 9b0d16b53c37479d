// The pages work without this. It renews what is live, once a second or slower, and never while the page is hidden.
(() => {
  "use strict";
  const beat = (name, every) =>
    setInterval(() => {
      if (document.hidden || !navigator.onLine) return;
      for (const part of document.querySelectorAll(`[data-live="${name}"]`)) {
        if (!part.contains(document.activeElement) || part === document.activeElement) htmx.trigger(part, "renew");
      }
    }, every);
  beat("second", 1000);
  beat("slow", 10000);
  document.addEventListener("htmx:responseError", (event) => {
    // What cannot be renewed stays as it was, and says so.
    document.querySelector("#stale")?.removeAttribute("hidden");
    if (event.detail.xhr.status === 401) location.reload();
  });
  document.addEventListener("htmx:afterSwap", () => document.querySelector("#stale")?.setAttribute("hidden", ""));
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
  // On a telephone the menu is a strip, and the page that is open may be beyond its edge.
  document.querySelector("header.top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
})();
