// Insert the site's address into the install commands, and add a button that copies each command.
"use strict";

{
  const root = new URL(".", document.currentScript.src).href.replace(/\/$/, "");
  for (const place of document.querySelectorAll("[data-address]")) place.textContent = root;
  for (const hint of document.querySelectorAll("[data-hint]")) hint.hidden = true;
  // Browsers allow this only over https and on localhost.
  if (navigator.clipboard) {
    for (const text of document.querySelectorAll("pre.copied")) {
      const line = text.textContent;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy: ${line}`);
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(line);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Press Ctrl+C";
          getSelection().selectAllChildren(text.querySelector("code"));
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      text.prepend(button);
    }
  }
}
