// Disables the buttons of a submitted form until the response arrives, to show that a second tap has no effect. The
// server processes each form once in any case.
(() => {
  "use strict";

  // Time in milliseconds until the buttons are enabled again: the request was stopped, or the response is a download.
  const PATIENCE = 10000;

  const sent = new Map();

  function release(form) {
    for (const button of sent.get(form) ?? []) button.disabled = false;
    sent.delete(form);
    form.removeAttribute("aria-busy");
  }

  function hold(form) {
    const buttons = [...form.elements].filter((element) => element.matches("button, input[type=submit]"));
    const enabled = buttons.filter((button) => !button.disabled);
    for (const button of enabled) button.disabled = true;
    sent.set(form, enabled);
    form.setAttribute("aria-busy", "true");
    setTimeout(() => release(form), PATIENCE);
  }

  // On the window, so that scripts that send the form themselves have called preventDefault by then.
  window.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (sent.has(form)) {
      event.preventDefault();
      return;
    }
    // Deferred, because a disabled button sends no value.
    sent.set(form, []);
    setTimeout(() => hold(form));
  });

  // The page is restored from the back/forward cache.
  window.addEventListener("pageshow", () => {
    for (const form of [...sent.keys()]) release(form);
  });
})();
