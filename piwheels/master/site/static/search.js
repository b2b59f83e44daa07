// Search while typing. packages.json has one line for each project, ["name",downloads in 30 days,all downloads], most downloaded
// first. We search its text, which takes milliseconds for a hundred thousand lines, and parse only the lines that we show.
// summaries1.json has the lines ["name","summary"] of the most downloaded projects. The next files are loaded on request.
"use strict";

{
  const MOST = 50;
  const PAUSE = 120; // ms without a key press before a search starts
  const root = new URL(".", document.currentScript.src).href;
  const field = document.querySelector("#q");
  const list = document.querySelector("#results");
  const status = document.querySelector("#status");
  const popular = document.querySelector("#popular");
  const more = document.querySelector("#more");
  const parts = Number(list?.dataset.parts);
  const summaries = new Map(); // by name, most downloaded first
  let read = 0; // how many parts of the summaries have been read
  let reading = Promise.resolve();
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

  // Read the summaries of the next part. A part that is missing has become superfluous, so it counts as empty.
  const readPart = async () => {
    const answer = await fetch(`${root}summaries${read + 1}.json`);
    if (answer.ok) for (const [name, summary] of await answer.json()) summaries.set(name, summary);
    else if (answer.status !== 404) throw new Error(`${answer.status}`);
    read += 1;
  };

  // Read the first `count` parts, one after the other.
  const readParts = (count) => {
    reading = reading.catch(() => {}).then(async () => {
      while (read < count) await readPart();
    });
    return reading;
  };

  // Return what finds all words of `query` at the beginnings of words; null if it is too short for that.
  const inSummary = (query) => {
    if (query.length < 3 && /^[\x00-\x7f]*$/.test(query)) return null;
    const words = query.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    const each = words.map((word) => new RegExp(`(?:^|[^\\p{L}\\p{N}])${word}`, "iu"));
    return each.length ? (line) => each.every((word) => word.test(line)) : null;
  };

  const search = (query) => {
    const found = new Map();
    const wanted = canonical(query);
    // Exact names first, then prefixes, then all other names, then summaries; each group by downloads.
    for (const part of wanted ? [`["${wanted}"`, `["${wanted}`, wanted] : []) {
      for (const row of lines(part)) {
        found.set(row[0], row);
        if (found.size > MOST) return [...found.values()];
      }
    }
    const matches = inSummary(query);
    for (const [name, summary] of matches ? summaries : []) {
      if (found.has(name) || !matches(`${name} ${summary}`)) continue;
      const at = text.indexOf(`["${name}",`);
      if (at >= 0) found.set(name, JSON.parse(text.slice(at, text.indexOf("]", at) + 1)));
      if (found.size > MOST) break;
    }
    return [...found.values()];
  };

  const item = ([name, recent], wanted) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${root}project/${encodeURIComponent(name)}/`;
    const at = name.indexOf(wanted);
    if (wanted && at >= 0) {
      const mark = document.createElement("mark");
      mark.textContent = wanted;
      link.append(name.slice(0, at), mark, name.slice(at + wanted.length));
    } else {
      link.append(name);
    }
    line.append(link);
    if (recent) {
      const count = document.createElement("span");
      count.className = "dim";
      count.textContent = `${recent.toLocaleString("en")} download${recent === 1 ? "" : "s"} in 30 days`;
      line.append(count);
    }
    if (summaries.has(name)) {
      const summary = document.createElement("bdi");
      summary.className = "dim full";
      summary.textContent = summaries.get(name);
      line.append(summary);
    }
    return line;
  };

  // Show what matches `query`. Until `done`, there may be more results.
  const show = (query, done) => {
    const found = query ? search(query) : [];
    const wanted = canonical(query);
    list.replaceChildren(...found.slice(0, MOST).map((row) => item(row, wanted)));
    list.dataset.for = wanted;
    popular.hidden = query !== "";
    more.hidden = !query || !done || found.length > MOST || read >= parts || inSummary(query) === null;
    if (!query) status.textContent = "";
    else if (found.length > MOST) status.textContent = `More than ${MOST} projects found; these are the most downloaded.`;
    else if (found.length) status.textContent = found.length === 1 ? "1 project found." : `${found.length} projects found.`;
    else status.textContent = done ? `No project matches “${field.value.trim()}”.` : "Loading the summaries…";
  };

  const asked = () => field.value.trim().toLowerCase();

  const update = async () => {
    const query = asked();
    const address = new URL(location.href);
    if (query) address.searchParams.set("q", field.value.trim());
    else address.searchParams.delete("q");
    if (address.href !== location.href) history.replaceState(null, "", address);
    if (!query) return show("", true);
    if (text === null) status.textContent = "Loading the list of projects…";
    try {
      await load();
    } catch {
      status.textContent = "The list of projects could not be loaded. Try again, or open the list of all projects below.";
      popular.hidden = false;
      return undefined;
    }
    // Show nothing if the user has typed on in the meantime.
    if (query !== asked()) return undefined;
    const first = Math.min(1, parts);
    if (read < first) {
      show(query, false);
      await readParts(first).catch(() => {}); // without summaries, names are found
    }
    return query === asked() ? show(query, true) : undefined;
  };

  more?.addEventListener("click", async () => {
    more.disabled = true;
    for (let next = read + 1; next <= parts && !list.children[MOST - 1]; next += 1) {
      status.textContent = `Searching the summaries, part ${next} of ${parts}…`;
      try {
        await readParts(next);
      } catch {
        break; // the button remains
      }
      if (asked()) show(asked(), false);
    }
    more.disabled = false;
    field.focus();
    update();
  });

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
  const inAddress = new URLSearchParams(location.search).get("q");
  if (inAddress !== null) {
    field.value = inAddress;
    update();
  }
  field.focus({ preventScroll: true });
}
