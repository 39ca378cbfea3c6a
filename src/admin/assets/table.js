// Pages of table photographs. They work without this script. It shows the progress of an upload, lets people pair by dragging
// a back onto a front, and draw boxes and cuts on a photograph.
(() => {
  "use strict";

  // Upload: the form is sent as it is, with its progress shown; then the answer's page is opened.
  function upload(form, event) {
    const progress = form.querySelector("[data-progress]");
    const status = form.querySelector("[data-status]");
    if (![...form.elements].some((element) => element.files?.length)) return;
    event.preventDefault();
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    progress.classList.remove("hidden");
    status.textContent = "Sending the photographs…";
    const over = (text) => {
      progress.classList.add("hidden");
      status.textContent = text;
      for (const button of form.querySelectorAll("button")) button.disabled = false;
      form.removeAttribute("aria-busy");
    };
    request.upload.addEventListener("progress", (sent) => {
      if (!sent.lengthComputable) return;
      progress.value = 100 * sent.loaded / sent.total;
      if (sent.loaded === sent.total) status.textContent = "Arrived. The shop looks at them…";
    });
    request.addEventListener("load", () => {
      if (request.status < 400) { location.assign(request.responseURL); return; }
      // A refused form comes back with its reasons.
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const reasons = [...page.querySelectorAll(".error, .notice p")].map((reason) => reason.textContent);
      const once = page.querySelector(`form[action="${form.getAttribute("action")}"] [name=once]`);
      if (once) form.elements.once.value = once.value;
      over(reasons.join(" ") || "That did not work. Load the page again.");
    });
    request.addEventListener("error", () => over("That did not arrive. Are you online? Try again."));
    request.send(new FormData(form));
  }

  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-progress-form]")) upload(event.target, event);
  });

  // Pairing. The lists are what is sent; dragging sets them. Two fronts swap their backs.
  const rows = () => [...document.querySelectorAll("[data-pairs] li[data-pair]")];
  const list = (row) => row.querySelector("[data-back-list]");

  function say(text) {
    const status = document.querySelector("[data-paired]");
    if (status) status.textContent = text;
  }

  function title(row) {
    return row.querySelector("h2").textContent;
  }

  // Shows in each row the back that its list names. The images move; each piece has one.
  function showBacks() {
    const faces = new Map();
    for (const face of document.querySelectorAll("[data-back][data-piece]")) {
      faces.set(face.dataset.piece, [...face.childNodes]);
    }
    for (const row of rows()) {
      const face = row.querySelector("[data-back]");
      const piece = list(row)?.value;
      if (!face || piece === undefined) continue;
      const nodes = faces.get(piece);
      if (nodes) face.replaceChildren(...nodes);
      else face.replaceChildren(Object.assign(document.createElement("span"), { className: "empty-image", textContent: "No back" }));
      face.dataset.piece = piece;
    }
    prepare();
  }

  // The value of each list before its last change.
  const former = new WeakMap();

  function settle(select) {
    const before = former.get(select) ?? "";
    const row = select.closest("li[data-pair]");
    const other = rows().find((one) => one !== row && select.value && list(one)?.value === select.value);
    if (other) {
      list(other).value = before;
      former.set(list(other), before);
    }
    former.set(select, select.value);
    const chosen = select.selectedOptions[0].textContent.replace(/ \(.*/, "");
    const swapped = other ? ` ${title(other)} has ${before ? "its former back" : "none"} now.` : "";
    say(select.value ? `${title(row)} is paired with ${chosen.toLowerCase()}.${swapped} Not saved yet.` : `${title(row)} has no back. Not saved yet.`);
    showBacks();
  }

  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-back-list]")) settle(target);
  });

  let dragged = null;

  function rowAt(event) {
    return document.elementFromPoint(event.clientX, event.clientY)?.closest("li[data-pair]");
  }

  function drop(event) {
    const { face, ghost } = dragged;
    dragged = null;
    ghost.remove();
    for (const row of rows()) row.classList.remove("target");
    const row = rowAt(event);
    const select = row && list(row);
    if (event.type !== "pointerup" || !select || !face.dataset.piece || select.value === face.dataset.piece) return;
    select.value = face.dataset.piece;
    settle(select);
    select.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Scrolls while a back is held near an edge of the window.
  function scroll(event) {
    const edge = 60;
    if (event.clientY < edge) window.scrollBy(0, -12);
    if (event.clientY > window.innerHeight - edge) window.scrollBy(0, 12);
  }

  document.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest?.("[data-handle]");
    const face = handle?.closest("[data-back]");
    if (!face?.dataset.piece) return;
    event.preventDefault();
    const image = face.querySelector("img");
    const ghost = (image ?? face).cloneNode(true);
    ghost.removeAttribute("id");
    ghost.classList.add("dragged");
    document.body.append(ghost);
    dragged = { face, ghost };
    handle.setPointerCapture(event.pointerId);
    move(event);
  });

  function move(event) {
    dragged.ghost.style.translate = `${event.clientX}px ${event.clientY}px`;
    const row = rowAt(event);
    for (const one of rows()) one.classList.toggle("target", one === row);
    scroll(event);
  }

  document.addEventListener("pointermove", (event) => { if (dragged) move(event); });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, (event) => { if (dragged) drop(event); });

  function prepare() {
    const hint = document.querySelector("[data-drag-hint]");
    if (hint) hint.hidden = false;
    for (const row of rows()) if (list(row) && !former.has(list(row))) former.set(list(row), list(row).value);
    for (const face of document.querySelectorAll("[data-pairs] [data-back]")) {
      const needs = Boolean(face.dataset.piece);
      const handle = face.querySelector("[data-handle]");
      if (needs && !handle) {
        const grip = document.createElement("span");
        grip.dataset.handle = "";
        grip.className = "handle";
        grip.setAttribute("aria-hidden", "true");
        grip.textContent = "⠿";
        face.append(grip);
      } else if (!needs) handle?.remove();
    }
  }

  // Drawing on a photograph: a box around a missed piece, or a line through one that is two. The numbers are what is sent.
  const SVG = "http://www.w3.org/2000/svg";

  function drawing() {
    const area = document.querySelector("[data-drawing]");
    const forms = [...document.querySelectorAll("[data-draw]")];
    if (!area || !forms.length) return;
    document.querySelector("[data-draw-hint]").hidden = false;
    const svg = area.querySelector("svg");
    const box = svg.viewBox.baseVal;
    let form = forms.find((one) => one.closest("section").id === location.hash.slice(1)) ?? forms[0];
    const choice = document.createElement("p");
    choice.className = "acts";
    for (const one of forms) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = one.dataset.draw === "box" ? "Draw a piece" : "Draw a cut";
      button.addEventListener("click", () => { form = one; press(); show(); });
      choice.append(button);
    }
    function press() {
      [...choice.children].forEach((button, at) => button.setAttribute("aria-pressed", String(forms[at] === form)));
    }
    area.before(choice);
    press();
    const shape = { box: document.createElementNS(SVG, "rect"), line: document.createElementNS(SVG, "line") };
    for (const one of Object.values(shape)) { one.setAttribute("class", "drawn"); one.setAttribute("visibility", "hidden"); svg.append(one); }

    const field = (name) => form.elements[name];
    const number = (name) => Number.parseFloat(field(name).value);

    function show() {
      for (const one of Object.values(shape)) one.setAttribute("visibility", "hidden");
      const kind = form.dataset.draw;
      const names = kind === "box" ? ["left", "top", "width", "height"] : ["from_x", "from_y", "to_x", "to_y"];
      const values = names.map((name, at) => number(name) / 100 * (at % 2 ? box.height : box.width));
      if (values.some(Number.isNaN)) return;
      const attributes = kind === "box" ? ["x", "y", "width", "height"] : ["x1", "y1", "x2", "y2"];
      attributes.forEach((attribute, at) => shape[kind].setAttribute(attribute, values[at]));
      shape[kind].setAttribute("visibility", "visible");
    }

    function place(event) {
      const frame = svg.getBoundingClientRect();
      const percent = (value) => Math.min(100, Math.max(0, value * 100));
      return [percent((event.clientX - frame.left) / frame.width), percent((event.clientY - frame.top) / frame.height)];
    }

    const set = (name, value) => { field(name).value = value.toFixed(1); };
    let start = null;

    // The piece under the beginning of a cut is the one that is cut.
    function choosePiece(event) {
      const shapes = [...svg.querySelectorAll("polygon")];
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const at = shapes.findIndex((polygon) => polygon.isPointInFill(point));
      if (at >= 0) form.elements.piece.selectedIndex = at;
    }

    svg.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      start = place(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!start) return;
      const end = place(event);
      if (form.dataset.draw === "box") {
        set("left", Math.min(start[0], end[0]));
        set("top", Math.min(start[1], end[1]));
        set("width", Math.abs(end[0] - start[0]));
        set("height", Math.abs(end[1] - start[1]));
      } else {
        set("from_x", start[0]);
        set("from_y", start[1]);
        set("to_x", end[0]);
        set("to_y", end[1]);
        const frame = svg.getBoundingClientRect();
        const middle = [(start[0] + end[0]) / 200, (start[1] + end[1]) / 200];
        choosePiece({ clientX: frame.left + middle[0] * frame.width, clientY: frame.top + middle[1] * frame.height });
      }
      show();
    });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { start = null; });
    for (const one of forms) one.addEventListener("input", () => { form = one; press(); show(); });
    show();
  }

  document.addEventListener("htmx:afterSettle", prepare);
  prepare();
  drawing();
})();
