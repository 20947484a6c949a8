// Closed sections: they open where a link leads into them and for print, and close again after it.

const closed = [...document.querySelectorAll("details")];

function openTarget() {
  const name = decodeURIComponent(location.hash.slice(1)).split("?")[0];
  const target = name && byId(name);
  if (!target) return;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) {
    box.open = true;
  }
  target.scrollIntoView();
}

addEventListener("hashchange", openTarget);
openTarget();

let openedForPrint = [];
addEventListener("beforeprint", () => {
  openedForPrint = closed.filter((box) => !box.open);
  for (const box of openedForPrint) box.open = true;
  boxes.filter((box) => !isDrawn(box)).forEach(draw);
});
addEventListener("afterprint", () => {
  for (const box of openedForPrint) box.open = false;
});
for (const box of closed) box.addEventListener("toggle", () => drawNext());
