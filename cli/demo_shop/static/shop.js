// The menu on small screens, and plus and minus beside a quantity. Without this script all still works.
"use strict";

document.documentElement.classList.add("scripted");

const toggle = document.querySelector("[data-menu]");
const menu = document.getElementById("menu");
toggle?.addEventListener("click", () => {
  const open = toggle.getAttribute("aria-expanded") !== "true";
  toggle.setAttribute("aria-expanded", String(open));
  menu.classList.toggle("open", open);
});

for (const field of document.querySelectorAll("input[type=number]")) {
  const step = (label, sign, by) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "step";
    button.textContent = sign;
    button.setAttribute("aria-label", `${label} of ${field.dataset.what}`);
    button.addEventListener("click", () => {
      const wanted = Number(field.value || 0) + by;
      field.value = String(Math.min(Number(field.max), Math.max(Number(field.min), wanted)));
    });
    return button;
  };
  field.before(step("One less", "−", -1));
  field.after(step("One more", "+", 1));
}
