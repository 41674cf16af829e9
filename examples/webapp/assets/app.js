// The page of the demo. Nothing here keeps a session alive: that is the
// server's business. The page looks on.
const $ = (id) => document.getElementById(id);
const root = $("app");
const lifetime = Number(root.dataset.lifetime) || 1;
const session = root.dataset.session;
let expires = 0;
let ended = false;
let bound = false;

async function call(path, options) {
  const response = await fetch(path, options);
  if (response.status === 401) {
    end();
    throw new Error("signed out");
  }
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.status === 204 ? null : response.json();
}

// ---- the access token

async function look() {
  const me = await call("/api/me");
  expires = Date.now() + me.expires_in * 1000;
  family.show(me.generation);
  const { sessions } = await call("/auth/sessions");
  $("devices").replaceChildren(...sessions.map(device));
  await standing();
}

// ---- how the session stands, as the kit's endpoint says

const duration = (s) => s >= 172800 ? `${Math.round(s / 86400)} days` : s >= 7200 ? `${Math.round(s / 3600)} hours` : s >= 120 ? `${Math.round(s / 60)} minutes` : `${s} seconds`;

// Why a session is not bound to a key of its device.
function unbound() {
  if (root.dataset.deviceKeys === "off") return "no: switched off here";
  if (location.protocol !== "https:") return "no: browsers need https";
  if (!/Chrome\/\d/.test(navigator.userAgent) || /Mobile/.test(navigator.userAgent)) return "no: not in this browser";
  return "not yet: Chrome makes one after the sign-in, on Windows and macOS";
}

async function standing() {
  const { session: now } = await call("/auth/session");
  if (!now) return;
  bound = now.device_bound;
  const lines = {
    "Signed in": `${clock(now.auth_time * 1000)}${now.actor ? `, by ${now.actor}` : ""}`,
    "Ends unused": `in ${duration(now.idle_expires_in)}`,
    "Ends at last": `in ${duration(now.session_expires_in)}`,
    "Roles": now.roles.join(", ") || "none",
    "Device key": bound ? "yes: nothing else renews this session" : unbound(),
  };
  $("session").replaceChildren(...Object.entries(lines).flatMap(([name, text]) => {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = name;
    value.textContent = text;
    return [term, value];
  }));
}

// ---- what is asked of the user

function ask(title, label, type, value = "") {
  $("ask-title").textContent = title;
  $("ask-label").textContent = label;
  const input = $("ask-input");
  input.type = type;
  input.value = value;
  input.autocomplete = type === "password" ? "current-password" : "off";
  $("ask-cancel").onclick = () => $("ask").close();
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise((resolve) => $("ask").addEventListener("close", () => {
    resolve($("ask").returnValue === "ok" ? input.value : null);
    input.value = "";
  }, { once: true }));
}

const post = (path, body) => fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

// Sends a request, and asks for the password when it needs a recent one.
async function withPassword(say, path, body) {
  for (let question = "Your password, please"; ; question = "That was wrong. Once more?") {
    const response = await post(path, body);
    const { error, error_description: description } = response.ok ? {} : await response.json();
    if (error !== "insufficient_user_authentication") {
      if (!response.ok) say(description);
      return response.ok;
    }
    const password = await ask(question, "Password", "password");
    if (password === null) return say("Not done: no password."), false;
    const answer = await post("/api/reauthenticate", { password });
    if (answer.status !== 403 && !answer.ok) return say("The service is briefly unavailable."), false;
    if (answer.ok) await look();
  }
}

function tick() {
  if (ended || !expires) return;
  const left = Math.max(0, Math.round((expires - Date.now()) / 1000));
  $("countdown").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  $("bar").value = (100 * left) / lifetime;
  if (left > 0) return;
  expires = 0;
  $("token-says").textContent = "Run out. The page asks for something, and the server renews on the way …";
  setTimeout(() => look().then(() => {
    $("token-says").textContent = `Renewed at ${clock()}, inside an ordinary request.`;
  }, () => {}), 1000);
}

function end() {
  if (ended) return;
  ended = true;
  $("countdown").textContent = "signed out";
  $("unit").hidden = true;
  $("greeting").textContent = "You are signed out.";
  $("account").replaceWith(signInAgain("Sign in"));
  $("bar").value = 0;
  $("token-says").textContent = "This session has ended, on every instance.";
  $("renew").replaceWith(signInAgain("Sign in again"));
  $("others").disabled = $("thief").disabled = $("all").disabled = true;
  const none = document.createElement("li");
  none.className = "note";
  none.textContent = "Sign in again to see them.";
  $("devices").replaceChildren(none);
  family.die();
}

function signInAgain(text) {
  const link = document.createElement("a");
  link.href = "/login?return_to=/";
  link.className = "button";
  link.textContent = text;
  return link;
}

const clock = (time = new Date()) => new Date(time).toLocaleTimeString([], { hour12: false });

// ---- the family: the last generations, newest last

const family = {
  newest: -1,
  settled: -1,
  stolen: -1,
  dead: false,
  show(generation) {
    if (generation <= this.newest) return;
    this.newest = generation;
    this.draw();
  },
  settle(generation) {
    this.settled = Math.max(this.settled, generation);
    this.draw();
  },
  die() {
    this.dead = true;
    this.draw();
  },
  draw() {
    if (this.newest < 0) return;
    // As many as there is room for, and a sign for those before.
    const room = Math.max(4, Math.min(8, Math.floor($("family").clientWidth / 76)));
    const first = this.newest < room ? 0 : this.newest - room + 2;
    const nodes = [];
    if (first > 0) nodes.push(this.node("…", "used", "earlier generations"));
    for (let g = first; g <= this.newest; g++) {
      let kind = "used", says = "used up";
      if (g === this.newest) [kind, says] = ["current", "current"];
      else if (g === this.newest - 1 && this.settled < this.newest) [kind, says] = ["spare", "may be repeated"];
      if (g === this.stolen) [kind, says] = ["stolen", "stolen"];
      if (this.dead && kind !== "stolen") [kind, says] = ["dead", "dead"];
      nodes.push(this.node(g, kind, says));
    }
    $("family").replaceChildren(...nodes);
  },
  node(text, kind, says) {
    const li = document.createElement("li");
    li.className = kind;
    const number = document.createElement("b");
    number.textContent = text;
    const note = document.createElement("span");
    note.textContent = says;
    li.append(number, note);
    return li;
  },
};

// ---- devices

function device(s) {
  const li = document.createElement("li");
  const name = document.createElement("span");
  const agent = document.createElement("b");
  agent.textContent = s.data || s.user_agent || "unknown";
  const where = document.createElement("span");
  where.className = "note";
  where.textContent = s.current ? "this browser" : `${s.ip}, last used ${clock(s.last_used_at)}`;
  if (s.device_bound) where.textContent += "; bound to a key of its device";
  if (s.actor) where.textContent += `; ${s.actor} acts for you: ${s.reason}`;
  name.append(agent, where);
  li.append(name);
  if (!s.current) {
    const button = document.createElement("button");
    button.className = "quiet";
    button.textContent = "Sign out";
    button.setAttribute("aria-label", `Sign out ${s.user_agent || "unknown"}, ${s.ip}`);
    button.onclick = async () => {
      await call(`/auth/sessions/${s.id}`, { method: "DELETE" });
      await look();
    };
    li.append(button);
  }
  return li;
}

// ---- events

const bad = new Set(["reuse_detected", "fingerprint_mismatch", "refresh_refused", "revoked", "invalid_token", "proof_missing", "proof_refused", "binding_failed", "binding_missing"]);

function log(e) {
  if (!e.time) return; // the stream says hello
  $("log-empty").hidden = true;
  const li = document.createElement("li");
  if (bad.has(e.event)) li.className = "bad";
  for (const [name, text] of [["time", clock(e.time)], ["event", e.event],
    ["more", [e.session_id && `generation ${e.generation}`, e.reason, e.actor && `by ${e.actor}`, e.session_id !== session && "another session"].filter(Boolean).join(", ")]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    li.append(part);
  }
  $("log").prepend(li);
  if (e.session_id !== session) return;
  if (e.event === "refresh") family.show(e.generation + 1);
  if (e.event === "settled") family.settle(e.generation);
  if (e.event === "reuse_detected" || e.event === "revoked") family.die();
}

// ---- what the buttons do

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

$("renew").onclick = async () => {
  const before = family.newest;
  await call("/auth/token/refresh", { method: "POST" });
  await look();
  $("token-says").textContent = `A new access token since ${clock()}` +
    (family.newest > before ? ", and the next refresh token." : ". The refresh token is too young to be replaced.");
};
$("name").onclick = async () => {
  const name = await ask("What do you call this device?", "Name", "text");
  if (name !== null) await post("/api/device", { name });
  await look();
};
$("transfer").onclick = async () => {
  const say = (text) => { $("transfer-says").textContent = text; };
  say("");
  if (await withPassword(say, "/api/transfer")) say("Transferred.");
};
if ($("support")) $("support").onsubmit = async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const say = (text) => { $("transfer-says").textContent = text; };
  if (await withPassword(say, `/admin/users/${form.get("user")}/impersonate`, { reason: form.get("reason") })) location.reload();
};
$("others").onclick = async () => {
  await call("/auth/logout-all", { method: "POST" });
  end();
};
$("thief").onclick = async () => {
  $("thief").disabled = true;
  const say = (text, kind = "") => {
    $("thief-says").textContent = text;
    $("thief-says").className = `says ${kind}`;
  };
  if (bound) {
    say("This session is bound to a key of its device: its refresh token opens nothing, so there is nothing to replay. Steal everything instead.");
    $("thief").disabled = false;
    return;
  }
  try {
    await call("/demo/steal", { method: "POST" });
    family.stolen = family.newest;
    family.draw();
    say("Copied. The owner knows nothing, and goes on …");
    for (let wait = 900; family.newest < family.stolen + 2; wait = Math.min(wait * 1.3, 5000)) {
      await pause(wait);
      await call("/auth/token/refresh", { method: "POST" });
      await look();
      say(`Copied. The owner knows nothing, and goes on: generation ${family.newest} …`);
    }
    say("Now the thief presents his copy, from what looks like your own browser …");
    await pause(900);
    const { outcome } = await call("/demo/replay", { method: "POST" });
    if (outcome === "reuse_detected") {
      say("Caught. The whole family is dead: the thief has nothing, and the owner signs in again.", "caught");
    } else {
      say(`The server answered: ${outcome}.`);
    }
    await look();
  } catch (error) {
    if (error.message !== "signed out") say(error.message);
  }
};

$("all").onclick = async () => {
  const say = (text, kind = "") => {
    $("all-says").textContent = text;
    $("all-says").className = `says ${kind}`;
  };
  $("all").disabled = true;
  try {
    const { outcome, device_bound: key } = await call("/demo/steal-all", { method: "POST" });
    if (outcome === "refused") say("Refused: the thief has every cookie, and not the key. The session goes on here.", "caught");
    else if (key) say("Let in, although the session is bound: that must not be.");
    else say("Let in. This session has no device key, so a fresh copy of all cookies works, until the thief or the owner renews with a token that the other has used up: then the whole family ends.");
    await look();
  } catch (error) {
    if (error.message !== "signed out") say(error.message);
  }
  $("all").disabled = ended;
};

addEventListener("resize", () => family.draw());
new EventSource("/demo/events").onmessage = (message) => log(JSON.parse(message.data));
look().catch(() => {});
setInterval(tick, 500);
