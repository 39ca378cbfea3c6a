// Pages that ship: copies the address, recognizes the carrier while a tracking number is typed, and scans its barcode where
// the browser can. They work without this script.
(() => {
  "use strict";

  // As `carriers.rs`, which decides where this script does not run. `tests/data/tracking-numbers.json` holds both.
  const CARRIERS = [
    ["UPS", /^1Z[0-9A-Z]{16}$/],
    ["DHL", /^(J?JD\d{14,}|\d{10})$/],
    ["USPS", /^(9[1-5](\d{18}|\d{20})|70\d{18}|[A-Z]{2}\d{9}US)$/],
    ["FedEx", /^(\d{12}|\d{15}|96\d{20})$/],
    ["Canada Post", /^(\d{16}|[A-Z]{2}\d{9}CA)$/],
    ["Royal Mail", /^[A-Z]{2}\d{9}GB$/],
    ["Australia Post", /^[A-Z]{2}\d{9}AU$/],
  ];

  const joined = (number) => number.replace(/[ -]/g, "").toUpperCase();
  const recognize = (number) => CARRIERS.find(([, form]) => form.test(joined(number)))?.[0];

  function trackingNumber(scanned) {
    const digits = joined(scanned);
    const [, usps] = digits.match(/^420(?:\d{5}|\d{9})(\d{22})$/) ?? [];
    if (usps && recognize(usps) === "USPS") return usps;
    return digits.match(/^10\d{18}00(\d{12})$/)?.[1] ?? scanned;
  }

  // Carriers.

  // The carrier that the form sends.
  function chosen(form) {
    const carrier = form.querySelector("[data-carriers] input:checked")?.value ?? "";
    return carrier === "other" ? form.elements.other_carrier.value : carrier;
  }

  function choose(form, carrier) {
    const radios = [...form.querySelectorAll("[data-carriers] input[type=radio]")];
    const usual = radios.find((radio) => radio.value === carrier);
    (usual ?? radios.find((radio) => radio.value === "other")).checked = true;
    if (!usual) form.elements.other_carrier.value = carrier;
  }

  function read(field) {
    const form = field.form;
    const carrier = recognize(trackingNumber(field.value));
    // A carrier that somebody chose stays, as does that of several packages.
    const isFree = !("chosen" in form.dataset);
    const isMany = form.querySelectorAll("[data-tracking]").length > 1;
    if (carrier && isFree && !isMany) choose(form, carrier);
    const note = field.closest(".field").querySelector("[data-recognized]");
    const isOther = carrier && (isMany || chosen(form) !== carrier);
    const text = isOther ? `This looks like a number of ${carrier}.` : carrier ? `Recognized: ${carrier}` : "";
    if (note.textContent !== text) note.textContent = text;
  }

  document.addEventListener("input", ({ target }) => {
    if (target.matches("[data-tracking]")) read(target);
  });
  document.addEventListener("change", ({ target }) => {
    const group = target.closest("[data-carriers]");
    if (!group) return;
    target.form.dataset.chosen = "";
    // It is no longer a suggestion, which would give way to the number.
    target.form.elements.suggested.value = "";
    for (const field of target.form.querySelectorAll("[data-tracking]")) read(field);
    if (target.value === "other") target.form.elements.other_carrier.focus();
  });

  // The address.

  async function copy(element) {
    try {
      await navigator.clipboard.writeText(element.innerText);
    } catch {
      // Without HTTPS there is no clipboard, and some browsers ask first.
      getSelection().selectAllChildren(element);
      if (!document.execCommand("copy")) return "Press and hold the address to copy it.";
      getSelection().removeAllRanges();
    }
    return "Copied";
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    const note = button.parentElement.querySelector("[data-copied]");
    button.hidden = false;
    button.addEventListener("click", async () => {
      note.textContent = "";
      note.textContent = await copy(document.getElementById(button.dataset.copy));
    });
  }

  // Barcodes.

  const FORMATS = ["code_128", "code_39", "codabar", "itf", "data_matrix", "pdf417"];
  // Time in milliseconds between two looks at the picture of the camera.
  const PAUSE = 150;

  function opened() {
    const dialog = document.createElement("dialog");
    dialog.className = "scanner";
    dialog.setAttribute("aria-label", "Scan the barcode");
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    const note = document.createElement("p");
    note.setAttribute("role", "status");
    note.textContent = "Point the camera at the tracking barcode.";
    const cancel = document.createElement("button");
    cancel.type = "button";
    cancel.textContent = "Cancel";
    cancel.addEventListener("click", () => dialog.close());
    dialog.append(video, note, cancel);
    document.body.append(dialog);
    dialog.showModal();
    return { dialog, video, note };
  }

  // The number in what the camera sees: at once if its carrier is known, or else once it was seen several times.
  function found(codes, seen) {
    const numbers = codes.map(({ rawValue }) => trackingNumber(rawValue.replace(/[^A-Za-z0-9]/g, "")));
    for (const number of numbers) {
      const times = (seen.get(number) ?? 0) + 1;
      seen.set(number, times);
      if (recognize(number) || times >= 8 && /^[A-Z0-9]{8,40}$/i.test(number)) return number;
    }
    return null;
  }

  async function scan(field) {
    const { dialog, video, note } = opened();
    let stream = null;
    dialog.addEventListener("close", () => {
      for (const track of stream?.getTracks() ?? []) track.stop();
      dialog.remove();
    });
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      const supported = await BarcodeDetector.getSupportedFormats();
      const detector = new BarcodeDetector({ formats: FORMATS.filter((format) => supported.includes(format)) });
      video.srcObject = stream;
      await video.play();
      const seen = new Map();
      while (dialog.open) {
        const number = found(await detector.detect(video), seen);
        if (number && dialog.open) {
          dialog.close();
          field.value = number;
          field.dispatchEvent(new Event("input", { bubbles: true }));
          field.focus();
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    } catch {
      note.textContent = "The camera cannot be used. Allow it for this page, or type the number.";
    }
    // It was closed while the camera was being opened.
    if (!dialog.open) for (const track of stream?.getTracks() ?? []) track.stop();
  }

  if ("BarcodeDetector" in window && navigator.mediaDevices) {
    for (const button of document.querySelectorAll("[data-scan]")) {
      button.hidden = false;
      button.addEventListener("click", () => scan(document.getElementById(button.dataset.scan)));
    }
  }
})();
