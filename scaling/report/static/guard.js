// Keeps the page to itself: a content security policy forbids requests, forms and frames, but no
// window and no link. So no script here opens a window, and of all links only those lead away that
// the page itself names as sources. Comes first.
"use strict";

Object.defineProperty(window, "open", {
  value: () => null,
  writable: false,
  configurable: false,
});

addEventListener("submit", (event) => event.preventDefault(), { capture: true });
for (const kind of ["click", "auxclick"]) {
  addEventListener(
    kind,
    (event) => {
      const link = event.target.closest?.("a");
      if (link && !link.matches("[href^='#'], [href^='blob:'][download], [rel='noreferrer']")) {
        event.preventDefault();
      }
    },
    { capture: true },
  );
}
