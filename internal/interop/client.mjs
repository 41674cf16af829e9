// A native app whose proofs the package dpop makes: it signs in, asks, renews and
// signs out, with a key of each algorithm, as often as the server asks for a nonce.
import * as DPoP from "dpop";

const base = process.argv[2];
let nonce;

async function send(keys, method, path, { token, body, times = 2 } = {}) {
  const proof = await DPoP.generateProof(keys, base + path, method, nonce, token);
  const headers = { DPoP: proof };
  if (token) headers.Authorization = `DPoP ${token}`;
  if (body) headers["Content-Type"] = "application/x-www-form-urlencoded";
  const response = await fetch(base + path, { method, headers, body: body && new URLSearchParams(body) });
  nonce = response.headers.get("DPoP-Nonce") ?? nonce;
  const text = await response.text();
  if (times > 1 && text.includes("use_dpop_nonce")) return send(keys, method, path, { token, body, times: times - 1 });
  return { status: response.status, text };
}

function want(step, answer, status, member) {
  if (answer.status !== status) throw new Error(`${step}: ${answer.status} ${answer.text}`);
  return member ? JSON.parse(answer.text)[member] : answer.text;
}

for (const algorithm of ["ES256", "Ed25519", "PS256", "RS256"]) {
  nonce = undefined;
  const keys = await DPoP.generateKeyPair(algorithm);
  const other = await DPoP.generateKeyPair(algorithm);
  const first = await send(keys, "POST", "/login");
  if (want(`${algorithm}: sign-in`, first, 200, "token_type") !== "DPoP") throw new Error(`${algorithm}: not bound`);
  let { access_token: token, refresh_token: refresh } = JSON.parse(first.text);
  if (want(`${algorithm}: a request`, await send(keys, "GET", "/me?with=query#fragment", { token }), 200) !== "alice") throw new Error(`${algorithm}: not alice`);
  want(`${algorithm}: a request with another key`, await send(other, "GET", "/me", { token }), 401);
  const grant = { grant_type: "refresh_token", refresh_token: refresh };
  if (want(`${algorithm}: a refresh with another key`, await send(other, "POST", "/auth/token/refresh", { body: grant }), 400, "error") !== "invalid_dpop_proof") throw new Error(`${algorithm}: another error`);
  token = want(`${algorithm}: a refresh`, await send(keys, "POST", "/auth/token/refresh", { body: grant }), 200, "access_token");
  const jkt = await DPoP.calculateThumbprint(keys.publicKey);
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  if (claims.cnf.jkt !== jkt) throw new Error(`${algorithm}: the token is bound to ${claims.cnf.jkt}, and the key is ${jkt}`);
  want(`${algorithm}: a path with escapes`, await send(keys, "GET", "/me/a%20b/%C3%A4", { token }), 200);
  want(`${algorithm}: logout`, await send(keys, "POST", "/auth/logout", { token }), 204);
  want(`${algorithm}: after the logout`, await send(keys, "GET", "/me", { token }), 401);
  console.log(`${algorithm} works`);
}
