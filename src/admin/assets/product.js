// Product pages of the admin. They work without this script. It uploads images as soon as they are chosen, with previews
// and progress (see photos.js), adds drag and drop, and keeps what was typed into the form while images are changed.
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
    const files = await photos.shrinkAll(chosen);
    photos.preview(section().querySelector("[data-previews]"), files);
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
