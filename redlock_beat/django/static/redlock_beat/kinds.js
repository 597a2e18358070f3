// Of the fields that say when, only those of the chosen kind are shown. Without JavaScript all are.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const kind = document.getElementById("id_kind");
  if (!kind || !kind.dataset.fields) return;
  const fields = JSON.parse(kind.dataset.fields);
  const show = () => {
    for (const [name, parts] of Object.entries(fields)) {
      const row = document.querySelector(`.form-row.field-${parts[0]}`);
      // Django's own class: its style sheet says how a row is laid out, and that counts for more than `hidden` does.
      if (row) row.classList.toggle("hidden", name !== kind.value && !row.querySelector(".errorlist"));
    }
  };
  kind.addEventListener("change", show);
  show();
});
