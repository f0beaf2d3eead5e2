// "Run here": the cells of a lesson become live.  Python runs in worker.js; this file is what the reader sees of it.

(() => {
  const settings = document.currentScript.dataset; // of live.py: the addresses of Pyodide and of npresnet's wheel
  const here = new URL(".", document.currentScript.src);
  const PACKAGES = ["numpy", "pillow", "matplotlib", "pygments"];

  const make = (tag, className, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), { className, ...properties });
    element.append(...children);
    return element;
  };

  // --- colours: the words of Python, in the classes of the site's style sheet ------------------------------------------

  const TOKENS = new RegExp(
    [
      "(?<c1>#.*)",
      "(?<s2>[rbfRBF]{0,2}(?:'''[^]*?(?:'''|$)|\"\"\"[^]*?(?:\"\"\"|$)|'(?:\\\\.|[^'\\\\\\n])*'?|\"(?:\\\\.|[^\"\\\\\\n])*\"?))",
      "(?<mi>\\b\\d[\\w.]*)",
      "(?<k>\\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is" +
        "|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield)\\b)",
      "(?<kc>\\b(?:None|True|False)\\b)",
      "(?<nb>\\b(?:abs|all|any|bool|dict|enumerate|float|int|isinstance|len|list|max|min|open|print|range|repr|reversed|round|set" +
        "|sorted|str|sum|tuple|type|zip)\\b)",
    ].join("|"),
    "g",
  );

  const escape = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

  function coloured(code) {
    let html = "";
    let end = 0;
    for (const match of code.matchAll(TOKENS)) {
      const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
      html += escape(code.slice(end, match.index)) + `<span class="${kind}">${escape(match[0])}</span>`;
      end = match.index + match[0].length;
    }
    return html + escape(code.slice(end)) + "\n";
  }

  // --- a cell ----------------------------------------------------------------------------------------------------------

  class Cell {
    constructor(element, number) {
      this.element = element;
      this.number = number;
      this.mayFail = element.classList.contains("tag_raises-exception");
      this.elsewhere = element.classList.contains("tag_not-in-browser");
      const shown = element.querySelector(".cell_input pre");
      this.code = shown.textContent.replace(/\n$/, "");
      this.output = element.querySelector(".cell_output") || element.appendChild(make("div", "cell_output docutils container"));
    }

    open() {
      this.colours = make("pre", "", { ariaHidden: "true" });
      this.area = make("textarea", "", {
        value: this.code,
        spellcheck: false,
        autocapitalize: "off",
        ariaLabel: `Code of cell ${this.number}`,
      });
      this.button = make("button", "live-run", { type: "button", textContent: "▶", title: "Run this cell (Shift+Enter)" });
      this.button.ariaLabel = `Run cell ${this.number}`;
      this.button.onclick = () => session.ask(this);
      this.area.oninput = () => this.paint();
      this.area.onkeydown = (event) => this.key(event);
      const editor = make("div", "live-editor highlight", {}, this.colours, this.area);
      this.element.querySelector(".cell_input").replaceChildren(editor, this.button);
      this.element.classList.add("live-cell");
      this.paint();
    }

    paint() {
      this.colours.innerHTML = coloured(this.area.value);
    }

    key(event) {
      if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        session.ask(this);
        const next = session.cells[this.number];
        if (event.shiftKey && next) next.area.focus();
      } else if (event.key === "Tab" && !event.shiftKey) {
        event.preventDefault();
        this.area.setRangeText("    ", this.area.selectionStart, this.area.selectionEnd, "end");
        this.paint();
      } else if (event.key === "Escape") {
        this.button.focus(); // the way out for who walks with the Tab key
      }
    }

    state(name) {
      this.element.dataset.live = name; // waiting, running, done, failed
      this.button.ariaBusy = String(name === "waiting" || name === "running");
    }

    begin() {
      this.output.replaceChildren();
      this.failed = false;
      this.state("running");
    }

    stream(text) {
      let block = this.output.lastElementChild;
      if (!block?.classList.contains("stream")) {
        block = make("div", "output stream highlight-myst-ansi notranslate", {}, make("div", "highlight", {}, make("pre")));
        this.output.append(block);
      }
      const pre = block.querySelector("pre");
      const lines = (pre.textContent + text).split("\n");
      pre.textContent = lines.map((line) => line.slice(line.replace(/\r$/, "").lastIndexOf("\r") + 1)).join("\n");
    }

    data(values) {
      const block = make("div", "output text_html");
      if (values.place) block.dataset.place = values.place;
      if (values["text/html"]) block.append(...withScripts(values["text/html"]));
      else if (values["image/svg+xml"]) block.innerHTML = values["image/svg+xml"];
      else if (values["image/png"]) block.append(make("img", "", { src: "data:image/png;base64," + values["image/png"], alt: "The figure that this cell draws" }));
      else block.append(make("div", "highlight", {}, make("pre", "", { textContent: values["text/plain"] })));
      const earlier = values.place && this.output.querySelector(`[data-place="${values.place}"]`);
      if (earlier) earlier.replaceWith(block);
      else this.output.append(block);
    }

    error(text) {
      this.failed = true;
      this.output.append(make("pre", "live-error", { textContent: text, role: "alert" }));
    }
  }

  // Scripts that are set as HTML do not run; those that are made as elements do.
  function withScripts(html) {
    const holder = make("div", "", { innerHTML: html });
    for (const script of holder.querySelectorAll("script")) {
      script.replaceWith(make("script", "", { textContent: script.textContent, type: script.type }));
    }
    return holder.childNodes;
  }

  // --- the session: one Python, one queue of cells ---------------------------------------------------------------------

  class Session {
    constructor(cells, bar) {
      Object.assign(this, { cells, bar, queue: [], current: null, ready: false });
    }

    start() {
      this.ready = false;
      this.bar.run.disabled = true; // until Python is there
      this.worker = new Worker(new URL("worker.js", here));
      this.worker.onmessage = ({ data }) => this.answer(data);
      this.worker.onerror = (event) => this.bar.failed(event.message || "the browser could not start Python");
      this.worker.postMessage({
        start: {
          pyodide: settings.pyodide,
          packages: PACKAGES,
          wheel: new URL(settings.wheel, here).href,
          modules: ["kernel.py", "products.py"].map((name) => new URL(name, here).href),
          files: new URL("files.zip", here).href,
        },
      });
    }

    restart() {
      this.worker.terminate();
      for (const cell of this.cells) cell.state("");
      Object.assign(this, { queue: [], current: null, stopped: null });
      this.start();
    }

    ask(...cells) {
      for (const cell of cells) {
        cell.state("waiting");
        this.queue.push(cell);
      }
      this.next();
    }

    all() {
      this.ask(...this.cells.filter((cell) => !cell.elsewhere));
    }

    next() {
      if (!this.ready || this.current) return;
      this.current = this.queue.shift() || null;
      if (!this.current) return this.bar.idle(this.stopped);
      this.bar.running(this.current, this.queue.length);
      this.current.begin();
      this.worker.postMessage({ run: this.current.number, code: this.current.area.value });
    }

    answer(data) {
      if (data.ready) {
        this.ready = true;
        this.bar.run.disabled = false;
        if (!this.queue.length) this.bar.idle();
        return this.next();
      }
      if (data.failed) return this.bar.failed(data.failed);
      if (data.progress) return this.bar.progress(data.progress, data.text);
      const cell = this.current;
      if (!cell) return console.warn("Python says, before any cell:", data);
      for (const kind of ["stream", "data", "error"]) if (kind in data) cell[kind](data[kind]);
      this.bar.first();
      if (data.done) this.end(cell);
    }

    end(cell) {
      cell.state(cell.failed ? "failed" : "done");
      this.stopped = cell.failed && !cell.mayFail ? cell : null;
      if (this.stopped) {
        for (const waiting of this.queue.splice(0)) waiting.state("");
      }
      this.current = null;
      this.next();
    }
  }

  // --- the bar at the top ----------------------------------------------------------------------------------------------

  class Bar {
    constructor() {
      this.run = make("button", "live-start", { type: "button", textContent: "▶ Run here" });
      this.restart = make("button", "live-restart", { type: "button", textContent: "Restart", hidden: true });
      this.meter = make("progress", "", { max: 1, value: 0, hidden: true, ariaLabel: "Loading" });
      this.text = make("span", "live-text", { textContent: settings.promise, role: "status" });
      this.element = make("div", "live-bar", {}, this.run, this.restart, this.meter, this.text);
    }

    progress(value, text) {
      this.meter.hidden = false;
      this.meter.value = value;
      this.text.textContent = text + " …";
    }

    running(cell, waiting) {
      if (!this.shown) this.progress(0.8, "Running the first cell");
      else this.text.textContent = `Running cell ${cell.number}` + (waiting ? `, ${waiting} to go` : "");
    }

    first() {
      this.shown = true;
      this.meter.hidden = true;
    }

    idle(stopped) {
      this.first();
      this.text.textContent = stopped
        ? `Cell ${stopped.number} ended with an error. Change it and run it again: Shift+Enter.`
        : "Ready. Change a cell and run it: Shift+Enter.";
    }

    failed(text) {
      this.meter.hidden = true;
      this.text.textContent = "Python did not start: " + text;
      this.element.classList.add("live-failed");
    }
  }

  let session;

  document.addEventListener("DOMContentLoaded", () => {
    const cells = [...document.querySelectorAll("div.cell")].filter((cell) => cell.querySelector(".cell_input pre"));
    if (!cells.length) return;
    const bar = new Bar();
    session = new Session(cells.map((element, k) => new Cell(element, k + 1)), bar);
    document.querySelector("article h1").after(bar.element);
    bar.run.onclick = () => {
      if (!session.worker) {
        session.cells.forEach((cell) => cell.open());
        bar.run.textContent = "▶ Run all";
        bar.restart.hidden = false;
        bar.element.classList.add("live-on");
        session.start();
      }
      session.all();
    };
    bar.restart.onclick = () => {
      bar.shown = false;
      bar.element.classList.remove("live-failed");
      session.restart();
    };
  });
})();
