// Closed sections: they open where a link leads into them and for print, and close again after it.

const closed = [...document.querySelectorAll("details")];

// The id that the address asks for, and what follows a question mark, still escaped: no text that
// stands in an address may stop the page.
function fragment() {
  const [name, ...query] = location.hash.slice(1).split("?");
  return [name, query.join("?")];
}

function openTarget() {
  const [name] = fragment();
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
