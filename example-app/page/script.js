/**
 * The page: acts and looks through the balancer, and keeps the last answers' nodes in view.
 * One request at a time, so the answers come in order; text from people only ever becomes textContent.
 */
const LOOK_EVERY_MS = 1_500;
const TRAIL = 30;

const $ = (id) => document.getElementById(id);
/** By node name, as learnt from the answers. */
const frameworks = new Map();
/** The lines of the cart by product. */
const lines = new Map();
let queue = Promise.resolve();
/** The WebSocket that is open while somebody is signed in. */
let live;

function ask(what, path, input) {
  queue = queue.then(() => request(what, path, input));
  return queue;
}

async function request(what, path, input) {
  const act = input !== undefined;
  try {
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(input) };
    const response = await fetch(path, act ? options : undefined);
    const { headers, ok } = response;
    leaveChip(headers.get("x-node") ?? "none", act ? what : "", ok, headers.get("x-round-trips") ?? "");
    const answer = await response.json();
    if (response.ok) show(answer, response.headers.get("x-node"));
    // What went wrong with an action stays in sight until the next one.
    if (!response.ok || act) trouble(response.ok ? "" : answer.error);
  } catch {
    trouble("No answer. Is the demo still running?");
  }
}

function show({ name, count, cart, nodes, framework }, node) {
  frameworks.set(node, framework);
  $("sign-in").hidden = name !== null;
  $("shop").hidden = name === null;
  $("user").textContent = name ?? "";
  $("count").textContent = count;
  cart.forEach(cartLine);
  $("nodes").replaceChildren(...nodes.map(nodeLine));
  if (name !== null && live === undefined) connect();
}

/** Closed by the server within the sign-out, be it in another tab; after any other end, the next look opens it again. */
function connect() {
  live = new WebSocket(`${location.origin.replace("http", "ws")}/live`);
  live.onmessage = ({ data }) => $("live").replaceChildren("Live: a WebSocket on ", chip("span", data, false));
  live.onclose = ({ code }) => {
    live = undefined;
    $("live").replaceChildren();
    if (code === 4401) ask("look", "/api/state");
  };
}

/** Made once and then only changed: a button that is replaced under the finger loses the click. */
function cartLine({ id, name, pieces }) {
  let line = lines.get(id);
  if (line === undefined) {
    const button = (label, sign, add) => {
      const made = element("button", "", sign);
      made.type = "button";
      made.ariaLabel = `${label} ${name}`;
      made.onclick = () => ask(`${sign} ${name}`, "/api/cart", { product: id, add });
      return made;
    };
    line = element(
      "li",
      "",
      element("span", "name", name),
      button("Remove", "−", -1),
      element("output", ""),
      button("Add", "+", 1),
    );
    lines.set(id, line);
    $("cart").append(line);
  }
  line.querySelector("output").textContent = pieces;
  line.querySelector("button").disabled = pieces === 0;
}

function nodeLine({ name, address, state, since }) {
  const framework = element("span", "framework", frameworks.get(name) ?? "");
  return element(
    "tr",
    "",
    element("td", "", chip("span", name, true), framework),
    element("td", "", address),
    element("td", "", state),
    element("td", "", duration(Date.now() - since)),
  );
}

function leaveChip(node, what, ok, trips) {
  const mark = chip("li", node, what !== "");
  if (what !== "" || !ok) mark.append(element("span", "", ok ? what : `${what} ✗`));
  if (trips !== "") mark.append(element("small", "", trips));
  $("trail").prepend(mark);
  while ($("trail").children.length > TRAIL) $("trail").lastChild.remove();
}

function chip(tag, name, done) {
  const mark = element(tag, done ? "chip done" : "chip", name);
  mark.dataset.node = name;
  // A is the first colour, B the second, and so on; any other name gets one of them for good.
  let sum = -"A".charCodeAt(0);
  for (const character of name) sum += character.charCodeAt(0);
  mark.style.setProperty("--node", `var(--node-${Math.abs(sum) % 6})`);
  return mark;
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = text === "";
}

function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

$("sign-in").onsubmit = (event) => {
  event.preventDefault();
  ask("sign in", "/api/sign-in", { name: $("name").value });
};
$("sign-out").onclick = () => ask("sign out", "/api/sign-out", {});
$("count-on").onclick = () => ask("count", "/api/count", {});

/** Looks again and again, but not while nobody is looking. */
async function look() {
  if (!document.hidden) await ask("look", "/api/state");
  // Not too regular: three tabs in step with three nodes would each meet the same one for ever.
  setTimeout(look, LOOK_EVERY_MS * (0.75 + Math.random() / 2));
}
look();
