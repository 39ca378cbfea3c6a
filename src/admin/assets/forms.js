// Forms that were sent: their buttons are off until the answer comes, so that a second tap is seen to do nothing. The
// server carries each form out once in any case; this is for whoever looks at the page.
(() => {
  "use strict";

  // After so long the buttons are on again: the request was stopped, or its answer was a download.
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

  // On the window: a script that sends the form itself has said so by then.
  window.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (sent.has(form)) {
      event.preventDefault();
      return;
    }
    // Not at once: a button that is off sends no value.
    sent.set(form, []);
    setTimeout(() => hold(form));
  });

  // A page that comes back as it was left.
  window.addEventListener("pageshow", () => {
    for (const form of [...sent.keys()]) release(form);
  });
})();
