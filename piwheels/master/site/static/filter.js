// Filter the files and builds of a project page by Python and architecture. The page's address keeps the choice.
"use strict";

{
  const box = document.querySelector("#filter");
  const status = box.querySelector("[role=status]");
  const fields = [...box.querySelectorAll("select")];
  const rows = [...document.querySelectorAll("[data-row]")];
  const lists = [...new Set(rows.map((row) => row.parentElement))];
  const releases = [...document.querySelectorAll("[data-release]")];
  const shown = (all) => all.filter((each) => !each.hidden);

  const matches = (row, field) => {
    const own = row.getAttribute(`data-${field.name}`);
    return field.value === "" || own === null || own.split(" ").includes(field.value);
  };

  const apply = () => {
    const active = fields.some((field) => field.value !== "");
    for (const row of rows) row.hidden = !fields.every((field) => matches(row, field));
    for (const list of lists) {
      const empty = shown([...list.children]).length === 0;
      const hashes = list.nextElementSibling;
      for (const part of [list, list.previousElementSibling, hashes?.matches(".hashes") ? hashes : null]) {
        if (part) part.hidden = empty;
      }
    }
    for (const release of releases) {
      release.hidden = active && shown([...release.querySelectorAll("[data-row]")]).length === 0;
    }
    const left = shown(releases);
    if (active && left.length && !left.some((release) => release.open)) left[0].open = true;
    const count = shown(rows).length;
    const noun = left.length === 1 ? "release" : "releases";
    if (!active) status.textContent = `All ${rows.length} files and builds are shown.`;
    else if (count === 0) status.textContent = "No file or build matches.";
    else status.textContent = `${count} of ${rows.length} files and builds are shown, in ${left.length} ${noun}.`;
  };

  const asked = new URLSearchParams(location.search);
  for (const field of fields) {
    const wanted = asked.get(field.name);
    if ([...field.options].some((option) => option.value === wanted)) field.value = wanted;
    field.addEventListener("change", () => {
      const address = new URL(location.href);
      if (field.value) address.searchParams.set(field.name, field.value);
      else address.searchParams.delete(field.name);
      history.replaceState(null, "", address);
      apply();
    });
  }
  apply();
  box.hidden = false;
}
