// In-person sale: shows the total on the button while prices are typed. The page works without this script.
(() => {
  "use strict";
  const form = document.querySelector("[data-sale]");
  const shown = form?.querySelector("[data-total]");
  if (!shown) return;

  const format = new Intl.NumberFormat("en-US", { style: "currency", currency: form.dataset.currency });
  const { maximumFractionDigits: digits } = format.resolvedOptions();
  const number = (text) => Number(text.replace(/[$,\s]/g, ""));
  const values = (name) => [...form.querySelectorAll(`[name=${name}]`)].map((field) => number(field.value));
  const rounded = (amount) => Math.round(amount * 10 ** digits) / 10 ** digits;

  // `null` where a field has no number.
  function total() {
    const [quantities, prices] = [values("quantity"), values("price")];
    const sum = quantities.reduce((sum, quantity, at) => sum + quantity * prices[at], 0);
    const discount = form.elements.discount.value.trim();
    const less = discount.endsWith("%")
      ? rounded((sum * number(discount.slice(0, -1))) / 100)
      : number(discount);
    const left = rounded(sum - less);
    return left >= 0 ? left : null;
  }

  function show() {
    const left = total();
    shown.textContent = left === null ? "Sell" : `Sell for ${format.format(left)}`;
  }

  form.addEventListener("input", show);
  // Fields that the browser restores after "back" are restored by now.
  window.addEventListener("pageshow", show);
})();
