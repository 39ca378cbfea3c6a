// Product pages of the admin. They work without this script. It uploads images as soon as they are chosen, with previews
// and progress, shrinks large photographs before they are sent, adds drag and drop, and keeps what was typed into the form
// while images are changed.
(() => {
  "use strict";

  // Files on their way, or whose upload failed. The button sends them again.
  let unsent = [];

  const section = () => document.querySelector("[data-images]");

  function say(text) {
    const status = section()?.querySelector("[data-status]");
    if (status) status.textContent = text;
  }

  // Says that the session is over, with the way back to this page.
  function sayOver(what) {
    // They do not outlive this page.
    unsent = [];
    const link = document.createElement("a");
    const here = encodeURIComponent(location.pathname + location.search);
    link.href = `/admin/sign-in?why=session-over&next=${here}`;
    link.textContent = `Sign in again ${what}`;
    say("You were signed out. ");
    section()?.querySelector("[data-status]")?.append(link);
  }

  // The last pressed button, to restore the focus.
  let pressed = null;

  const FAILED = "That did not work. Load the page again.";

  // Replaces the image section by that of a response. Returns false if the response has none, and says why.
  function take(url, html, what) {
    if (new URL(url).pathname.startsWith("/admin/sign-in")) { sayOver(what); return false; }
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.querySelector("[data-images]");
    if (!fresh) {
      say(page.querySelector(".notice p")?.textContent ?? FAILED);
      return false;
    }
    for (const image of section().querySelectorAll("img[src^='blob:']")) URL.revokeObjectURL(image.src);
    section().replaceWith(document.importNode(fresh, true));
    prepare();
    if (pressed) {
      const again = section().querySelector(`[data-image="${pressed[0]}"] button[value="${pressed[1]}"]:not(:disabled)`);
      (again ?? section().querySelector("button:not(:disabled)")).focus();
      pressed = null;
    }
    say(page.querySelector(".said")?.textContent ?? "");
    return true;
  }

  // Sends a form. `then` is called with true if the section is that of the response.
  function send(form, data, then) {
    const progress = form.querySelector("[data-progress]");
    const what = progress ? "to upload" : "to go on";
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    if (progress) {
      progress.classList.remove("hidden");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) progress.value = 100 * event.loaded / event.total;
      });
    }
    request.addEventListener("load", () => {
      progress?.classList.add("hidden");
      const taken = take(request.responseURL, request.responseText, what);
      then?.(taken);
    });
    request.addEventListener("error", async () => {
      progress?.classList.add("hidden");
      // Without a session, the server closes the connection while the files are on their way.
      const here = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
      if (here?.type === "opaqueredirect") sayOver(what);
      else say("That did not arrive. Are you online? Try again.");
      then?.(false);
    });
    request.send(data);
  }

  // Longest side in pixels of what is sent: twice the widest rendition, and a hundredth of a large photograph's bytes.
  const LONGEST_SIDE = 3200;

  // Returns the photograph, smaller if it is large. What the browser cannot read is left to the server, which says why.
  async function shrink(file) {
    if (!/^image\/(jpeg|png|webp)$/.test(file.type)) return file;
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
      const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
      if (scale >= 1) return file;
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const small = await new Promise((done) => canvas.toBlob(done, file.type, 0.92));
      return small && small.size < file.size ? new File([small], file.name, { type: small.type }) : file;
    } catch {
      return file;
    } finally {
      bitmap?.close();
    }
  }

  // One after the other: several large photographs at once are too much for a phone's memory.
  async function shrinkAll(files) {
    const small = [];
    for (const file of files) small.push(await shrink(file));
    return small;
  }

  function preview(list, files) {
    for (const old of list.querySelectorAll("img")) URL.revokeObjectURL(old.src);
    list.replaceChildren(...[...files].filter((file) => file.type.startsWith("image/")).map((file) => {
      const image = document.createElement("img");
      image.alt = file.name;
      image.src = URL.createObjectURL(file);
      const item = document.createElement("li");
      item.append(image);
      return item;
    }));
  }

  // The page once more: what arrived although its answer did not, and a new once-id.
  async function refresh() {
    const page = await fetch(location.href).catch(() => null);
    if (!page) { say("You seem to be offline. Try again."); return false; }
    return take(page.url, await page.text(), "to upload");
  }

  async function upload(chosen) {
    chosen = [...unsent, ...chosen];
    if (!chosen.length) return;
    unsent = chosen;
    const arrived = await tryUpload(chosen);
    if (arrived) unsent = [];
    else section().querySelector("[data-upload] button").hidden = false;
  }

  // A once-id that a failed upload was sent with must not be used for other files.
  let isStale = false;

  async function tryUpload(chosen) {
    if (isStale && !await refresh()) return false;
    isStale = true;
    const form = section().querySelector("[data-upload]");
    say("Uploading…");
    const files = await shrinkAll(chosen);
    preview(section().querySelector("[data-previews]"), files);
    const data = new FormData();
    // Token and once-id must come first: the guard reads only the first fields.
    for (const name of ["csrf", "once"]) data.append(name, form.elements[name].value);
    for (const file of files) data.append("image", file, file.name);
    const before = new Set(ids());
    if (!await new Promise((done) => send(form, data, done))) return false;
    isStale = false;
    showLocally(before, files);
    return true;
  }

  // Uploads wait for each other: each needs the once-id of the section that the one before it was answered with.
  let uploads = Promise.resolve();

  function enqueue(chosen) {
    const files = [...chosen];
    uploads = uploads.then(() => upload(files)).catch(() => say(FAILED));
  }

  function ids() {
    return [...section().querySelectorAll("[data-image]")].map((item) => item.dataset.image);
  }

  // Shows new images from the chosen files: their renditions may not be there yet. If a file was refused, which is which is
  // not known.
  function showLocally(before, files) {
    const fresh = [...section().querySelectorAll("[data-image]")].filter((item) => !before.has(item.dataset.image));
    if (fresh.length !== files.length) return;
    fresh.forEach((item, index) => { item.querySelector("img").src = URL.createObjectURL(files[index]); });
  }

  function arrange(form, pairs) {
    const hidden = ["csrf", "once"].map((name) => [name, form.elements[name].value]);
    const data = new URLSearchParams([...hidden, ...pairs]);
    send(form, data);
  }

  // The images of a new product are sent with its form, so the shrunk files take the place of the chosen ones.
  async function prepareNew(input) {
    const chosen = input.files;
    const files = await shrinkAll(chosen);
    // Others were chosen meanwhile.
    if (input.files !== chosen) return;
    const small = new DataTransfer();
    for (const file of files) small.items.add(file);
    input.files = small.files;
    preview(input.closest("[data-new-images]").querySelector("[data-previews]"), files);
  }

  let dragged = null;

  function prepare() {
    const images = section();
    if (!images) return;
    images.querySelector("[data-drop-hint]").hidden = false;
    // Chosen files are uploaded at once.
    images.querySelector("[data-upload] button").hidden = true;
    images.querySelector("[data-upload] input[type=file]").required = false;
    for (const item of images.querySelectorAll("[data-image]")) item.draggable = true;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-upload] input[type=file]") && event.target.files.length) {
      enqueue(event.target.files);
      event.target.value = "";
    }
    if (event.target.matches("[data-new-images] input[type=file]")) prepareNew(event.target);
    const all = event.target.closest("[data-check-all]");
    if (all) {
      for (const box of event.target.form.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-upload]")) {
      event.preventDefault();
      enqueue([]);
    } else if (form.matches("[data-arrange]")) {
      event.preventDefault();
      const what = event.submitter?.value ?? "up";
      pressed = [form.elements.image.value, what];
      const place = form.elements.at ? [["at", form.elements.at.value]] : [];
      arrange(form, [["image", pressed[0]], ...place, ["do", what]]);
    }
  });

  document.addEventListener("dragstart", (event) => {
    dragged = event.target.closest?.("[data-image]") ?? null;
    if (dragged) event.dataTransfer.effectAllowed = "move";
  });
  document.addEventListener("dragend", () => { dragged = null; });
  document.addEventListener("dragover", (event) => {
    const images = event.target.closest?.("[data-images]");
    if (!images) return;
    event.preventDefault();
    images.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    const images = event.target.closest?.("[data-images]");
    if (images && !images.contains(event.relatedTarget)) images.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    const images = event.target.closest?.("[data-images]");
    if (!images) return;
    event.preventDefault();
    images.classList.remove("over");
    if (!dragged) {
      if (event.dataTransfer.files.length) enqueue(event.dataTransfer.files);
      return;
    }
    const onto = event.target.closest("[data-image]");
    if (!onto || onto === dragged) return;
    const items = [...images.querySelectorAll("[data-image]")];
    const before = items.indexOf(dragged) > items.indexOf(onto);
    onto[before ? "before" : "after"](dragged);
    const order = [...images.querySelectorAll("[data-image]")].map((item) => ["image", item.dataset.image]);
    arrange(dragged.querySelector("form"), [...order, ["do", "order"]]);
  });

  window.addEventListener("beforeunload", (event) => {
    if (unsent.length) event.preventDefault();
  });

  // Suggests the slug that an empty field will get, while the name is typed.
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-product] #name")) return;
    const plain = event.target.value.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
    document.getElementById("slug").placeholder = plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  });

  function reveal() {
    for (const all of document.querySelectorAll("[data-check-all]")) all.hidden = false;
  }
  document.addEventListener("htmx:afterSettle", reveal);
  prepare();
  reveal();
})();
