"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent.trim();
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a, i), y = key(b, i), m = Number(x), n = Number(y);
      const order = x !== "" && y !== "" && !Number.isNaN(m) && !Number.isNaN(n) ? m - n : x.localeCompare(y);
      return down ? -order : order;
    });
    body.append(...rows);
  }));
}
for (const field of document.querySelectorAll("input[data-filter]")) {
  const table = document.getElementById(field.dataset.filter);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
for (const box of document.querySelectorAll(".compare")) {
  const [before, after] = box.querySelectorAll(".pair img");
  const frames = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const cut = box.querySelector("[name=cut]"), zoom = box.querySelector("[name=zoom]"), frame = box.querySelector("[name=frame]");
  const show = () => {
    after.style.setProperty("--cut", cut.value + "%");
    for (const image of [before, after]) image.style.width = image.naturalWidth * Number(zoom.value) + "px";
  };
  frame?.addEventListener("input", () => {
    const [one, two] = frames[Number(frame.value)];
    before.src = one; after.src = two;
    box.querySelector("output").textContent = frame.value;
  });
  cut.addEventListener("input", show); zoom.addEventListener("input", show);
  Promise.all([before.decode(), after.decode()]).then(show, show);
}
