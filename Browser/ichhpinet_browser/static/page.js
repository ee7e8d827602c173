// What the page does by itself: keys, files, theme, and saying that the connection is lost. Everything else is in Python.
(() => {
  "use strict";
  const trigger = (name, ...values) => window.trame && window.trame.trigger(name, values);
  const state = (name) => window.trame && window.trame.state.get(name);

  // -- theme: the system's, until the user chooses
  const stored = localStorage.getItem("ichhpinet-theme");
  if (stored) document.documentElement.dataset.theme = stored;
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const toggleTheme = () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("ichhpinet-theme", next);
  };

  // -- files
  const ask = (kind) => document.getElementById(`open-${kind}`).click();
  const refuse = (text) => {
    const count = (state("message") || { count: 0 }).count + 1;
    window.trame.state.set("message", { kind: "error", text, count });
  };
  const UNSAVED = "The rounds and strokes of this CT are not saved as a session, and would be lost. Go on without them?";
  const mayClose = () => state("stage") !== "ready" || !state("unsaved") || confirm(UNSAVED);
  addEventListener("beforeunload", (event) => { if (state("stage") === "ready" && state("unsaved")) event.preventDefault(); });
  let sending = null; // the upload under way
  function send(files) {
    if (!files.length || state("uploading") >= 0 || !mayClose()) return; // one upload at a time: the last to arrive would be the one that is seen
    const limit = state("most_mb");
    const bytes = files.reduce((sum, [, file]) => sum + file.size, 0);
    if (bytes > limit * 1048576) return refuse(`This is more than ${limit} MB, the limit of this page. Choose one CT series.`);
    const form = new FormData();
    for (const [name, file] of files) form.append("file", file, name);
    const request = (sending = new XMLHttpRequest());
    request.onabort = () => { request.cancelled = true; };
    request.open("POST", "upload");
    const uploading = (percent) => window.trame.state.set("uploading", percent); // known to this page alone
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.loaded < event.total) uploading(Math.round((100 * event.loaded) / event.total));
    };
    request.upload.onload = () => uploading(100);
    request.onloadend = () => {
      uploading(-1);
      sending = null;
      if (!request.cancelled && request.status !== 200 && request.status !== 400) refuse("The upload broke off. Try again."); // 400 is explained by the page
    };
    request.send(form);
  }
  const chosen = (input) => { send([...input.files].map((file) => [file.name, file])); input.value = ""; };
  async function dropped(items) {
    const found = items.filter(([entry, file]) => !entry && file).map(([, file]) => [file.name, file]); // not from a file manager
    async function walk(entry) {
      if (entry.isFile) {
        const file = await new Promise((done, failed) => entry.file(done, failed));
        found.push([file.name, file]);
      } else if (entry.isDirectory) {
        const reader = entry.createReader();
        for (;;) {
          const batch = await new Promise((done, failed) => reader.readEntries(done, failed));
          if (!batch.length) break;
          for (const one of batch) await walk(one);
        }
      }
    }
    for (const [entry] of items) if (entry) await walk(entry);
    send(found);
  }
  const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.documentElement.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.documentElement.classList.remove("dropping"); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.documentElement.classList.remove("dropping");
    dropped([...event.dataTransfer.items].map((item) => [item.webkitGetAsEntry(), item.getAsFile()]));
  });
  addEventListener("change", (event) => { if (event.target.matches("#open-file, #open-folder")) chosen(event.target); });

  // -- clicks that stay in the browser
  addEventListener("click", (event) => {
    const target = event.target.closest ? event.target : document.body;
    const closing = target.closest("[data-closes]");
    if (closing && mayClose()) trigger(closing.dataset.closes);
    const opener = target.closest("[data-open]");
    if (opener) ask(opener.dataset.open);
    if (target.closest("[data-cancel-upload]") && sending) sending.abort();
    if (target.closest("[data-theme-toggle]")) toggleTheme();
    if (target.closest("[data-reload]")) location.reload();
    if (target.closest("[data-anew]")) location.href = "../../";
    for (const menu of document.querySelectorAll("details.menu[open]"))
      if (!menu.contains(target) || target.closest(".menu-list a, .menu-list button")) menu.open = false;
  });

  // -- keys: the same as in Slicer's panel
  const keys = { d: ["brush", "foreground"], n: ["brush", "background"], x: ["brush", "erase"] };
  addEventListener("keydown", (event) => {
    const open = document.querySelector("details.menu[open]");
    if (event.key === "Escape" && open) { open.open = false; open.querySelector("summary").focus(); return; }
    if (state("stage") !== "ready" || state("uploading") >= 0 || event.altKey) return;
    const sliding = event.target.matches && event.target.matches("input[type=range]");
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    let action = null;
    if (control && key === "enter") action = ["refine"];
    else if (control && key === "z") action = event.shiftKey ? ["redo"] : ["undo"];
    else if (control && key === "y") action = ["redo"];
    else if (!control && key === "escape" && state("busy")) action = ["cancel"];
    else if (!control && keys[key]) action = keys[key];
    else if (!control && (key === "f" || (key === "arrowup" && !sliding))) action = ["step", hovered(), 1];
    else if (!control && (key === "b" || (key === "arrowdown" && !sliding))) action = ["step", hovered(), -1];
    if (!action) return;
    if (held && action[0] !== "cancel") action = ["nothing"]; // a stroke under way stays of its kind and on its slice
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && action[0] !== "step") return;
    if (action[0] === "nothing" || (action[0] === "refine" && !state("can").refine)) return;
    trigger(...action);
  }, true);
  addEventListener("pointerup", () => setTimeout(() => { // a slider that the mouse has left must not keep the arrow keys
    const focused = document.activeElement;
    if (focused && focused.matches("input[type=range], input[type=checkbox]")) focused.blur();
  }));
  let held = false; // a button of the mouse, over a view
  addEventListener("pointerdown", (event) => { held = Boolean(event.target.closest && event.target.closest(".view")); }, true);
  for (const ended of ["pointerup", "pointercancel"]) addEventListener(ended, () => { held = false; }, true);
  addEventListener("wheel", (event) => { if (held) { event.preventDefault(); event.stopPropagation(); } }, { capture: true, passive: false });
  addEventListener("pointermove", (event) => { if (!event.buttons) held = false; }, true); // let go of outside the window
  let under = "Axial";
  const hovered = () => (state("layout") === "four" ? under : "Axial"); // the other planes may be hidden
  addEventListener("pointerover", (event) => {
    const view = event.target.closest && event.target.closest(".view");
    if (view) under = ["Axial", "Coronal", "Sagittal"].find((name) => view.classList.contains(name.toLowerCase())) || "Axial";
  });

  // -- the connection
  let leaving = false;
  addEventListener("pagehide", () => {
    leaving = true;
    if (!document.querySelector(".lost")) navigator.sendBeacon("left"); // a lost page does not speak for the one that has the case
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // kept by the browser, but its connection ended
  const watch = setInterval(() => {
    const connection = window.trame && window.trame.client && window.trame.client.getConnection && window.trame.client.getConnection();
    if (!connection) return;
    clearInterval(watch);
    const lost = () => setTimeout(() => { // a page that is left loses its connection first, and is then told to say goodbye
      if (leaving || document.querySelector(".lost")) return;
      const box = document.createElement("div"); // trame takes its own page away when the connection ends
      box.className = "lost";
      box.innerHTML = `<section class="start-card" role="alertdialog" aria-labelledby="lost-title" aria-describedby="lost-text">
        <h2 id="lost-title">The connection is lost</h2>
        <p id="lost-text">The server ended, or this case was opened in another tab. What was not saved as a session may be gone.</p>
        <div class="start-row"><button type="button" class="primary big" data-reload>Connect again</button>
        <button type="button" class="big" data-anew>Open a new page</button></div></section>`;
      document.documentElement.classList.add("is-lost");
      document.body.append(box);
      box.querySelector("button").focus();
    }, 1000);
    window.trame.client.onConnectionClose(lost);
    window.trame.client.onConnectionError(lost);
  }, 200);
})();
