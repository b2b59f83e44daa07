// Search while typing. packages.json has one line for each project, ["name",downloads in 30 days,all downloads], most downloaded
// first. We search its text, which takes milliseconds for a hundred thousand lines, and parse only the lines that we show.
"use strict";

{
  const MOST = 50;
  const PAUSE = 120; // ms without a key press before a search starts
  const root = new URL(".", document.currentScript.src).href;
  const field = document.querySelector("#q");
  const list = document.querySelector("#results");
  const status = document.querySelector("#status");
  const popular = document.querySelector("#popular");
  let text = null;
  let loading = null;
  let timer = 0;

  const canonical = (name) => name.trim().toLowerCase().replace(/[-_.\s]+/g, "-").replace(/[^a-z0-9-]/g, "");

  const load = () => {
    loading ??= fetch(`${root}packages.json`).then(async (answer) => {
      if (!answer.ok) throw new Error(`${answer.status}`);
      text = await answer.text();
    }).catch((error) => {
      loading = null; // the next key press tries again
      throw error;
    });
    return loading;
  };

  // Yield the lines whose name contains `part`, as [name, recent, allTime].
  const lines = function* (part) {
    for (let at = text.indexOf(part); at >= 0;) {
      const start = text.lastIndexOf('["', at + 1);
      const end = text.indexOf("]", at);
      const row = JSON.parse(text.slice(start, end + 1));
      if (at <= start + 2 + row[0].length) yield row; // otherwise the match is in the numbers
      at = text.indexOf(part, end);
    }
  };

  const search = (wanted) => {
    const found = new Map();
    // Exact matches first, then prefixes, then all others; each group by downloads.
    for (const part of [`["${wanted}"`, `["${wanted}`, wanted]) {
      for (const row of lines(part)) {
        found.set(row[0], row);
        if (found.size > MOST) return [...found.values()];
      }
    }
    return [...found.values()];
  };

  const item = ([name, recent], wanted) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${root}project/${encodeURIComponent(name)}/`;
    const at = name.indexOf(wanted);
    const mark = document.createElement("mark");
    mark.textContent = name.slice(at, at + wanted.length);
    link.append(name.slice(0, at), mark, name.slice(at + wanted.length));
    line.append(link);
    if (recent) {
      const count = document.createElement("span");
      count.className = "dim";
      count.textContent = `${recent.toLocaleString("en")} download${recent === 1 ? "" : "s"} in 30 days`;
      line.append(count);
    }
    return line;
  };

  const show = (wanted) => {
    const found = wanted ? search(wanted) : [];
    list.replaceChildren(...found.slice(0, MOST).map((row) => item(row, wanted)));
    list.dataset.for = wanted;
    popular.hidden = wanted !== "";
    if (!wanted) status.textContent = "";
    else if (found.length > MOST) status.textContent = `More than ${MOST} projects found; these are the most downloaded.`;
    else if (found.length === 0) status.textContent = `No project matches “${wanted}”.`;
    else status.textContent = found.length === 1 ? "1 project found." : `${found.length} projects found.`;
  };

  const update = async () => {
    const wanted = canonical(field.value);
    const address = new URL(location.href);
    if (field.value.trim()) address.searchParams.set("q", field.value.trim());
    else address.searchParams.delete("q");
    if (address.href !== location.href) history.replaceState(null, "", address);
    if (!wanted && !field.value.trim()) return show("");
    if (text === null) status.textContent = "Loading the list of projects…";
    try {
      await load();
    } catch {
      status.textContent = "The list of projects could not be loaded. Try again, or open the list of all projects below.";
      popular.hidden = false;
      return undefined;
    }
    // Show nothing if the user has typed on in the meantime.
    return wanted === canonical(field.value) ? show(wanted) : undefined;
  };

  const links = () => [...list.querySelectorAll("a")];

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(update, PAUSE);
  });
  field.addEventListener("focus", () => load().catch(() => {}), { once: true });
  field.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    await update();
    links()[0]?.click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const all = links();
    const at = all.indexOf(document.activeElement);
    const inside = document.activeElement === field || at >= 0;
    let next = null;
    if (event.key === "/" && document.activeElement !== field) next = field;
    else if (event.key === "ArrowDown" && inside) next = all[at + 1];
    else if (event.key === "ArrowUp" && at >= 0) next = at ? all[at - 1] : field;
    else if (event.key === "Escape" && inside) {
      field.value = "";
      next = field;
      update();
    }
    if (!next) return;
    event.preventDefault();
    next.focus();
    if (next === field) field.select();
  });
  // The address may contain a query: from a link, from the form on the home page, or from the history.
  const asked = new URLSearchParams(location.search).get("q");
  if (asked !== null) {
    field.value = asked;
    update();
  }
  field.focus({ preventScroll: true });
}
