// The page of the demo. Nothing here keeps a session alive: that is the
// server's business.
const $ = (id) => document.getElementById(id);
let expires = 0, lifetime = 1;

async function call(path, options) {
  const response = await fetch(path, { headers: { "Content-Type": "application/json" }, ...options });
  if (response.status === 401) {
    $("countdown").textContent = "signed out";
    throw new Error("signed out");
  }
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}

async function refreshView() {
  const me = await call("/api/me");
  expires = Date.now() + me.expires_in * 1000;
  lifetime = Math.max(lifetime, me.expires_in);
  $("generation").textContent = me.generation;
  const { sessions } = await call("/auth/sessions");
  $("devices").replaceChildren(...sessions.map(device));
}

function device(s) {
  const li = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = `${s.user_agent || "unknown"} · ${s.ip}${s.current ? " · this one" : ""}`;
  li.append(name);
  if (!s.current) {
    const button = document.createElement("button");
    button.className = "quiet";
    button.textContent = "Sign out";
    button.setAttribute("aria-label", `Sign out ${s.user_agent}`);
    button.onclick = async () => { await call(`/auth/sessions/${s.id}`, { method: "DELETE" }); refreshView(); };
    li.append(button);
  }
  return li;
}

function tick() {
  if (!expires) return;
  const left = Math.max(0, Math.round((expires - Date.now()) / 1000));
  $("countdown").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  $("bar").value = (100 * left) / lifetime;
  if (left === 0) {
    expires = 0;
    setTimeout(() => refreshView().catch(() => {}), 1000);
  }
}

function log(entry) {
  const li = document.createElement("li");
  if (["reuse_detected", "fingerprint_mismatch", "refresh_refused"].includes(entry.event)) li.className = "bad";
  const time = entry.time ? new Date(entry.time).toLocaleTimeString() : "";
  li.textContent = [time, entry.event, entry.session_id && `generation ${entry.generation}`, entry.reason].filter(Boolean).join("  ");
  $("log").prepend(li);
}

$("renew").onclick = async () => { await call("/auth/token/refresh", { method: "POST" }); refreshView(); };
$("others").onclick = async () => { await call("/auth/logout-all", { method: "POST" }); location.reload(); };
$("thief").onclick = async () => {
  $("thief").disabled = true;
  const say = (text) => { $("thief-says").textContent = text; };
  try {
    await call("/demo/steal", { method: "POST" });
    say("Copied. The owner goes on …");
    await call("/auth/token/refresh", { method: "POST" });
    await call("/auth/token/refresh", { method: "POST" });
    const { outcome } = await call("/demo/replay", { method: "POST" });
    say(outcome === "reuse_detected" ? "Caught: the whole family is dead. Thief and owner are out; the owner signs in again." : `The server answered: ${outcome}.`);
    await refreshView();
  } catch (error) {
    if (error.message !== "signed out") say(error.message);
  }
};

new EventSource("/demo/events").onmessage = (message) => log(JSON.parse(message.data));
refreshView().catch(() => {});
setInterval(tick, 500);
