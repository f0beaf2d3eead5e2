// Python in a thread of its own: Pyodide with NumPy, Matplotlib and npresnet.  The page asks, this answers:
//   {start: {pyodide, packages, wheel, modules, files}}   →   {progress: 0 to 1, text} …, {ready: true} or {failed: text}
//   {run: id, code}   →   {run: id, stream: text}, {run: id, data: {type: text}}, {run: id, error: text} …, {run: id, done: true}

let pyodide, kernel;
let running = null; // the id of the cell whose outputs come

const QUIET = { messageCallback() {} };
const tell = (progress, text) => postMessage({ progress, text });

async function start({ pyodide: base, packages, wheel, modules, files }) {
  tell(0.02, "Loading Python");
  importScripts(base + "pyodide.js");
  pyodide = await loadPyodide({ indexURL: base, env: { MPLBACKEND: "agg" } });

  tell(0.3, "Loading NumPy and Matplotlib");
  const [archive, ...sources] = await Promise.all([
    fetch(files).then((answer) => answer.arrayBuffer()),
    ...modules.map((address) => fetch(address).then((answer) => answer.text())),
    pyodide.loadPackage(packages, QUIET),
  ]);

  tell(0.6, "Loading npresnet");
  await pyodide.loadPackage(wheel, QUIET);
  pyodide.unpackArchive(archive, "zip"); // into the home folder, where Python begins

  tell(0.7, "Starting Python");
  modules.forEach((address, k) => pyodide.FS.writeFile(address.split("/").pop(), sources[k]));
  kernel = pyodide.pyimport("kernel");
  kernel.start((kind, text) => postMessage({ run: running, [kind]: kind === "data" ? JSON.parse(text) : text }));
}

async function run(id, code) {
  running = id;
  const missing = kernel.missing(code); // packages of Pyodide's that are not loaded yet
  if (missing) await pyodide.loadPackagesFromImports(missing, QUIET);
  kernel.run(code, id);
}

onmessage = async ({ data }) => {
  if (data.start) {
    try {
      await start(data.start);
      postMessage({ ready: true });
    } catch (error) {
      postMessage({ failed: String(error.message || error) });
    }
    return;
  }
  try {
    await run(data.run, data.code);
  } catch (error) {
    postMessage({ run: data.run, error: String(error.message || error) });
  }
  postMessage({ run: data.run, done: true });
};
