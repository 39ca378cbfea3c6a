// Forms of the admin. They work without this script. It disables the buttons of a submitted form until the response
// arrives, asks before unsaved text is left, and keeps what was typed when the session is over or the shop refuses. It closes
// the menu of a phone, too.
(() => {
  "use strict";

  // Time in milliseconds until the buttons are enabled again: the request was stopped, or the response is a download.
  const PATIENCE = 10000;

  const sent = new Map();
  const timers = new WeakMap();

  function release(form) {
    clearTimeout(timers.get(form));
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
    // Photographs take as long as the line needs.
    if ([...form.elements].some((element) => element.files?.length)) return;
    timers.set(form, setTimeout(() => { release(form); leaving = null; }, PATIENCE));
  }

  // Drafts: what was typed into forms that may not have arrived. They live in this window (sessionStorage), belong to a
  // user, and never hold passwords, codes or files. The next page decides: it drops them if it is an ordinary page, and
  // marks them if it asks to sign in or tells of a failure. A marked draft is filled in where its form is next shown.
  const STORE = "drafts";
  const MOST = 20;
  const user = document.body.dataset.user;
  const failed = "failed" in document.body.dataset;

  // What the page is being left for: "submit", "sign-in" or "sign-out".
  let leaving = null;

  // Forms that somebody typed into.
  const touched = new Set();

  function load() {
    try {
      return JSON.parse(sessionStorage.getItem(STORE)) ?? [];
    } catch {
      return [];
    }
  }

  // A browser without storage keeps nothing.
  function store(drafts) {
    try {
      if (drafts.length) sessionStorage.setItem(STORE, JSON.stringify(drafts.slice(-MOST)));
      else sessionStorage.removeItem(STORE);
    } catch {}
  }

  const isPost = (form) => form instanceof HTMLFormElement && form.method === "post";
  const pathOf = (form) => new URL(form.action).pathname;
  const isSignOut = (form) => /\/sign-out(-everywhere)?$/.test(pathOf(form));

  const isSecret = (field) => field.type === "password" || field.name === "code"
    || /one-time-code|password/.test(field.autocomplete);
  const isBox = (field) => field.type === "checkbox" || field.type === "radio";
  const isTyped = (field) => field.matches("input, textarea, select") && field.name && !isSecret(field)
    && !["hidden", "file", "submit", "button", "image", "reset"].includes(field.type);

  function isChanged(field) {
    if (isBox(field)) return field.checked !== field.defaultChecked;
    if (field.type === "file") return field.files.length > 0;
    if (!field.matches("select")) return field.value !== field.defaultValue;
    const initial = [...field.options].findIndex((option) => option.defaultSelected);
    return field.selectedIndex !== Math.max(initial, 0);
  }

  // Ticked lines of a list are no text.
  const isUnsaved = (form) => form.isConnected && [...form.elements].some((field) =>
    (field.type === "file" || isTyped(field) && !isBox(field)) && isChanged(field));
  const unsaved = () => [...touched].filter(isUnsaved);

  // Which of several forms to one address it is.
  const SUBJECTS = ["piece", "id", "image", "order", "payment_id", "email"];
  function subject(form) {
    const hidden = [...form.elements].filter((field) => field.type === "hidden" && SUBJECTS.includes(field.name));
    return JSON.stringify(hidden.map((field) => [field.name, field.value]));
  }

  // What the typed text stands on: the server compares it with what others saved meanwhile.
  const isBase = (field) => field.type === "hidden" && (field.name === "version" || field.name.startsWith("was_"));

  function keep(form, why) {
    // A refused form is shown again with what was typed as its values.
    const all = form.querySelector("[aria-invalid], .error") !== null;
    const fields = [...form.elements].filter((field) => isTyped(field) && (all || isChanged(field)));
    const draft = {
      user, why, path: pathOf(form), subject: subject(form),
      fields: fields.map((field) => ({
        name: field.name, value: field.value, on: isBox(field) ? field.checked : null,
        label: field.labels?.[0]?.textContent.trim() ?? field.name,
      })),
      base: [...form.elements].filter(isBase).map((field) => [field.name, field.value]),
    };
    const others = load().filter((other) => other.path !== draft.path || other.subject !== draft.subject);
    store(fields.length ? [...others, draft] : others);
  }

  function fill(form, draft) {
    if (draft.why === "signed out") {
      for (const [name, value] of draft.base) {
        const field = form.elements[name];
        if (field && isBase(field)) field.value = value;
      }
    }
    for (const { name, value, on } of draft.fields) {
      const fields = [...form.elements].filter((field) => field.name === name && isTyped(field));
      const field = on === null ? fields[0] : fields.find((field) => field.value === value);
      if (!field) continue;
      if (on === null) field.value = value;
      else field.checked = on;
      for (let fold = field.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    }
    touched.add(form);
  }

  function tell(text) {
    const line = document.createElement("p");
    line.className = "said";
    line.setAttribute("role", "status");
    line.textContent = text;
    document.getElementById("content").prepend(line);
  }

  // Decides about each draft on a page that has just been opened.
  function settle() {
    let drafts = load();
    if (user) drafts = drafts.filter((draft) => draft.user === user);
    for (const draft of drafts) {
      if (!user) draft.why = "signed out";
      else if (failed) draft.why ??= "refused";
    }
    drafts = drafts.filter((draft) => draft.why);
    if (!user || failed) {
      for (const note of document.querySelectorAll("[data-kept]")) note.hidden = !drafts.length;
      store(drafts);
      return;
    }
    const forms = [...document.forms].filter(isPost);
    let filled = false;
    drafts = drafts.filter((draft) => {
      const form = forms.find((form) => pathOf(form) === draft.path && subject(form) === draft.subject);
      if (form) {
        fill(form, draft);
        filled ||= draft.why !== "beside";
        return false;
      }
      const here = location.pathname;
      const isGone = here !== "/admin" && (draft.path === here || draft.path.startsWith(`${here}/`));
      const text = draft.fields.filter((field) => field.on === null && field.value);
      if (isGone && draft.why !== "beside" && text.length) {
        const typed = text.map((field) => `${field.label}: ${field.value}`).join("; ");
        tell(`What you typed is not saved, and its form is not here any more. You typed: ${typed}`);
      }
      return !isGone && draft.why !== "beside";
    });
    if (filled) tell("What you typed is filled in again. It is not saved yet.");
    store(drafts);
  }

  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, (event) => {
      if (user && isPost(event.target.form)) touched.add(event.target.form);
    });
  }

  // On the window, so that scripts that send the form themselves have called preventDefault by then.
  window.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (sent.has(form)) {
      event.preventDefault();
      return;
    }
    if (isSignOut(form)) {
      leaving = "sign-out";
      store([]);
    } else if (user) {
      leaving = "submit";
      // Text beside it would be lost with the page.
      for (const other of unsaved()) if (other !== form) keep(other, "beside");
      keep(form);
    }
    // Deferred, because a disabled button sends no value.
    sent.set(form, []);
    setTimeout(() => hold(form));
  });

  window.addEventListener("beforeunload", (event) => {
    if (leaving === "submit" || leaving === "sign-in" || !user || !unsaved().length) return;
    event.preventDefault();
    // For browsers from before 2023.
    event.returnValue = "";
    // Runs if the user stays.
    setTimeout(() => {
      leaving = null;
      for (const form of [...sent.keys()]) release(form);
    }, 1000);
  });

  window.addEventListener("pagehide", () => {
    // If the next page asks to sign in, they are wanted.
    if (user && (leaving === null || leaving === "sign-in")) for (const form of unsaved()) keep(form);
  });

  // The session is over, and htmx is about to open the sign-in page.
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.getResponseHeader("hx-redirect")) leaving = "sign-in";
  });

  // The page is restored from the back/forward cache.
  window.addEventListener("pageshow", (event) => {
    for (const form of [...sent.keys()]) release(form);
    leaving = null;
    if (event.persisted) settle();
  });

  // The menu of a phone closes by Escape and by a tap beside it.
  const menu = document.querySelector(".thumb details");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu?.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    if (menu?.open && !menu.contains(event.target)) menu.open = false;
  });

  settle();
})();
