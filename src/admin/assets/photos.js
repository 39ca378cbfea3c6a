// Forms that photographs are chosen in: shows the chosen ones, and shrinks large ones before they are sent. Without this
// script they are sent as they are.
const photos = (() => {
  "use strict";

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

  // The work on each form's files that is not done yet.
  const unfinished = new WeakMap();

  // The shrunk files take the place of the chosen ones, and are sent with the form.
  async function prepare(input) {
    const chosen = input.files;
    const files = await shrinkAll(chosen);
    // Others were chosen meanwhile.
    if (input.files !== chosen) return;
    const small = new DataTransfer();
    for (const file of files) small.items.add(file);
    input.files = small.files;
    preview(input.closest("[data-photos]").querySelector("[data-previews]"), files);
  }

  document.addEventListener("change", ({ target }) => {
    if (!target.matches("[data-photos] input[type=file]")) return;
    const work = prepare(target).finally(() => {
      if (unfinished.get(target.form) === work) unfinished.delete(target.form);
    });
    unfinished.set(target.form, work);
  });

  // A form that is sent too early is sent once its photographs are ready.
  document.addEventListener("submit", (event) => {
    const work = unfinished.get(event.target);
    if (!work) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    work.finally(() => event.target.requestSubmit(event.submitter));
  }, true);

  return { shrinkAll, preview };
})();
