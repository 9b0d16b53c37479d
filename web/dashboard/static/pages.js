// Buttons of single pages. Each page works without them.
(() => {
  "use strict";
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
  for (const place of document.querySelectorAll("[data-drop]")) {
    const input = place.querySelector("input[type=file]");
    const told = place.querySelector("[data-file]");
    const tell = () => {
      const file = input.files[0];
      told.textContent = file ? `${file.name}, ${file.size.toLocaleString("en")} bytes` : "";
    };
    for (const name of ["dragenter", "dragover"]) {
      place.addEventListener(name, (event) => {
        event.preventDefault();
        place.classList.add("over");
      });
    }
    for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length !== 1) {
        told.textContent = "Drop one file.";
        return;
      }
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    input.addEventListener("change", () => {
      // What was tried is about the file of before.
      tell();
      document.querySelector("#tried")?.replaceChildren();
    });
    tell();
  }
})();
