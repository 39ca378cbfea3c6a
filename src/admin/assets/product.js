// Product pages of the admin. They work without this script. It adds drag and drop for images, previews and upload
// progress, and keeps what was typed into the form while images are changed.
(() => {
  "use strict";

  const section = () => document.querySelector("[data-images]");

  function say(text) {
    const status = section()?.querySelector("[data-status]");
    if (status) status.textContent = text;
  }

  // Says that the session is over, with the way back to this page.
  function sayOver(what) {
    const link = document.createElement("a");
    const here = encodeURIComponent(location.pathname + location.search);
    link.href = `/admin/sign-in?why=session-over&next=${here}`;
    link.textContent = `Sign in again ${what}`;
    say("You were signed out. ");
    section()?.querySelector("[data-status]")?.append(link);
  }

  // The last pressed button, to restore the focus.
  let pressed = null;

  // Replaces the image section by that of a response.
  function take(request, what) {
    if (new URL(request.responseURL).pathname.startsWith("/admin/sign-in")) { sayOver(what); return; }
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const fresh = page.querySelector("[data-images]");
    if (!fresh) {
      say(page.querySelector(".notice p")?.textContent ?? "That did not work. Load the page again.");
      return;
    }
    section().replaceWith(document.importNode(fresh, true));
    prepare();
    if (pressed) {
      const again = section().querySelector(`[data-image="${pressed[0]}"] button[value="${pressed[1]}"]:not(:disabled)`);
      (again ?? section().querySelector("button:not(:disabled)")).focus();
      pressed = null;
    }
    say(page.querySelector(".said")?.textContent ?? "");
  }

  function send(form, data) {
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
      take(request, what);
    });
    request.addEventListener("error", async () => {
      progress?.classList.add("hidden");
      // Without a session, the server closes the connection while the files are on their way.
      const here = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
      if (here?.type === "opaqueredirect") sayOver(what);
      else say("That did not arrive. Are you online? Try again.");
    });
    request.send(data);
  }

  function preview(files) {
    const list = section().querySelector("[data-previews]");
    list.replaceChildren(...[...files].filter((file) => file.type.startsWith("image/")).map((file) => {
      const image = document.createElement("img");
      image.alt = file.name;
      image.src = URL.createObjectURL(file);
      image.addEventListener("load", () => URL.revokeObjectURL(image.src));
      const item = document.createElement("li");
      item.append(image);
      return item;
    }));
  }

  function upload(files) {
    const form = section().querySelector("[data-upload]");
    const data = new FormData();
    // Token and once-id must come first: the guard reads only the first fields.
    for (const name of ["csrf", "once"]) data.append(name, form.elements[name].value);
    for (const file of files) data.append("image", file, file.name);
    preview(files);
    say("Uploading…");
    send(form, data);
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
    for (const item of images.querySelectorAll("[data-image]")) item.draggable = true;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-upload] input[type=file]")) preview(event.target.files);
    const all = event.target.closest("[data-check-all]");
    if (all) {
      for (const box of event.target.form.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-upload]")) {
      event.preventDefault();
      upload(form.elements.image.files);
    } else if (form.matches("[data-arrange]")) {
      event.preventDefault();
      const what = event.submitter?.value ?? "up";
      pressed = [form.elements.image.value, what];
      arrange(form, [["image", pressed[0]], ["do", what]]);
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
      if (event.dataTransfer.files.length) upload(event.dataTransfer.files);
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
