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
    const [one, two] = frames[Number(frame.value) - 1];
    before.src = one; after.src = two;
    box.querySelector("output").textContent = frame.value;
  });
  cut.addEventListener("input", show); zoom.addEventListener("input", show);
  Promise.all([before.decode(), after.decode()]).then(show, show);
}
for (const box of document.querySelectorAll(".timeline")) {
  const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const canvas = box.querySelector("canvas"), told = box.querySelector("output");
  const end = data.frames_s[data.frames_s.length - 1], bins = data.rows[0].shares[0].length;
  const tall = 20, above = 18;
  let from = 0, to = bins;
  const time = (s) => s === 0 ? "0" : s >= 1 ? s.toPrecision(4) + " s" : s >= 1e-3 ? (s * 1e3).toPrecision(4) + " ms" : s >= 1e-6 ? (s * 1e6).toPrecision(4) + " µs" : (s * 1e9).toPrecision(4) + " ns";
  const draw = () => {
    const wide = Math.max(300, box.clientWidth), high = above + tall * data.rows.length + 4, dense = window.devicePixelRatio || 1;
    canvas.width = wide * dense; canvas.height = high * dense;
    canvas.style.width = wide + "px"; canvas.style.height = high + "px";
    const pen = canvas.getContext("2d"), ink = getComputedStyle(box).color;
    pen.scale(dense, dense); pen.font = "12px system-ui, sans-serif"; pen.textBaseline = "middle";
    const left = Math.min(wide * 0.4, 10 + Math.max(...data.rows.map((row) => pen.measureText(row.name).width)));
    const step = (wide - left) / (to - from);
    data.rows.forEach((row, r) => {
      const top = above + r * tall;
      for (let b = Math.floor(from); b < to; b++) {
        const x = Math.max(left, left + (b - from) * step), right = left + (b + 1 - from) * step;
        let y = top + tall - 3;
        row.shares.forEach((shares, state) => {
          const height = (tall - 4) * shares[b] / 100;
          pen.fillStyle = data.states[state][1]; pen.fillRect(x, y - height, right - x + 0.3, height); y -= height;
        });
      }
      pen.fillStyle = ink; pen.textAlign = "right";
      let name = row.name;
      while (name.length > 4 && pen.measureText(name).width > left - 8) name = name.slice(0, -2).replace(/…?$/, "…");
      pen.fillText(name, left - 6, top + tall / 2);
    });
    pen.fillStyle = pen.strokeStyle = ink; pen.textAlign = "left";
    pen.fillText(time(from / bins * end), left, 8);
    pen.textAlign = "right"; pen.fillText(time(to / bins * end), wide, 8);
    for (const s of data.frames_s) {
      const x = left + (s / end * bins - from) * step;
      if (x > left && x <= wide) { pen.setLineDash([4, 3]); pen.beginPath(); pen.moveTo(x - 0.5, above - 4); pen.lineTo(x - 0.5, high); pen.stroke(); }
    }
    told.textContent = time(from / bins * end) + " to " + time(to / bins * end);
  };
  const set = (a, b) => {
    const width = Math.max(8, Math.min(bins, b - a));
    from = Math.max(0, Math.min(bins - width, a)); to = from + width; draw();
  };
  const by = { in: () => set(from + (to - from) / 4, to - (to - from) / 4), out: () => set(from - (to - from) / 2, to + (to - from) / 2),
    left: () => set(from - (to - from) / 4, to - (to - from) / 4), right: () => set(from + (to - from) / 4, to + (to - from) / 4), all: () => set(0, bins) };
  box.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", by[button.dataset.do]));
  canvas.addEventListener("keydown", (event) => {
    const what = { "+": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", Home: "all" }[event.key];
    if (what) { by[what](); event.preventDefault(); }
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;  // a page that scrolls must go on scrolling
    event.preventDefault(); by[event.deltaY < 0 ? "in" : "out"]();
  }, { passive: false });
  window.addEventListener("resize", draw); draw();
}
