-- Lays a token before its family: family.Decide, case by case in its order.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 family id
--          2 hash of the presented secret 32 | its generation p 4 | hash of
--            the successor's secret 32 | attempt 6 | fingerprint 36 | now 6 |
--            fresh time 6 | the policy's idle timeout 6, lifetime of
--            remembered logins 6, and of others 6, and how long a family may
--            go without a device key 6
--          3 device
--          4 enforced components 1 | revoke on mismatch, refuse store behind,
--            single use, end shared, a digit each | settle time 6 |
--            parallel time 6 | the rotation of the current generation after which the request is
--            overtaken: if that is p + 1 6, if it is another 6 | how long
--            tombstones are kept 6 | by how much clocks may differ 6
--          5 '', or the key of which a proof came: kind 1 | thumbprint 32 |
--            name of the proof 6
--          6 '', or a step-up, as it is kept
-- Returns  one string: outcome 1 | differing components 1 | notes (1 late, 2
--          shared) 1 | where there is a family, the lengths of its fields I,
--          I..'c' and I..'d' afterwards 3, these fields, and if I..'c' says
--          that there are more: the lengths of I..'a', 'k', 's' and 'i' 4,
--          these fields, and I..'x'
--
-- May run twice: the attempt that made the current generation, or the one
-- before, or that ended the family, is told what it was told.
local unpack_fields, min, max = struct.unpack, math.min, math.max
local hash, p, successor, attempt, fingerprint, now, fresh_time, idle_limit, remembered_limit, browser_limit, key_within =
  unpack_fields('>c32I4c32c6c36I6I6I6I6I6I6', ARGV[2])
local key, id, device, proof, step_up = KEYS[1], ARGV[1], ARGV[3], ARGV[5], ARGV[6]
local DPOP = 2
local GONE, OTHER, REPEATED, FRESH, ROTATED, REPLAYED, BEHIND, BEHIND_REFUSED, REUSED, OVERTAKEN, UNPROVEN = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

local rec = call('HMGET', key, id, id .. 'c', id .. 'd')
local hot, cold = rec[1], rec[2]
local current, made, prior, flags, rotated, g, used
local created, absolute, idle, bound, is_alive, login, _
-- The further fields, and what of them is returned.
local auth, known, stepped, actor, data = '', '', '', '', ''
local function rest()
  if login < MORE then return '' end
  return char(#auth, #known, #stepped, #actor) .. auth .. known .. stepped .. actor .. data
end
if hot and cold and #hot >= HOT_SIZE and #cold >= COLD_SIZE and byte(hot) == VERSION and byte(cold) == VERSION then
  _, current, made, prior, flags, rotated, g, used = unpack_fields(HOT, hot)
  _, created, _, absolute, idle, login, bound = unpack_fields(COLD, cold)
  idle = idle * 1000
  local lifetime = login % 2 == 1 and remembered_limit or browser_limit
  is_alive = now < used + idle and now < used + idle_limit and now < absolute and now < created + lifetime
  if login >= MORE then
    local f = call('HMGET', key, id .. 'a', id .. 'k', id .. 's', id .. 'i', id .. 'x')
    auth, known, stepped, actor, data = f[1] or '', f[2] or '', f[3] or '', f[4] or '', f[5] or ''
  end
end

-- The rotation of every day comes before the definitions, which would cost more
-- than the rest: the same client, the current token, and nothing to correct.
if is_alive and p == g and hash == current and bound == fingerprint and device == rec[3]
  and used + fresh_time <= now and rotated <= now
  and known == '' and step_up == '' and now < created + key_within then
  hot = struct.pack(HOT, VERSION, successor, attempt, made, flags % 4 >= 2 and flags - flags % 4 or 0, now, p + 1, now) .. sub(hot, HOT_SIZE + 1)
  call('HSET', key, id, hot)
  local ms = min(idle, absolute - now)
  if call('PTTL', key) < ms then call('PEXPIRE', key, floor(ms * 17 / 16)) end
  return char(ROTATED, 0, 0, #hot, #cold, #device) .. hot .. cold .. device .. rest()
end
--COMMON
local enforced, policy, settle_time, parallel_time, next_after, later_after, retention, skew = unpack_fields('>Bc4I6I6I6I6I6I6', ARGV[4])
if not hot then
  must_be_primary(key)
  return char(GONE, 0, 0)
end

if is_tombstone(hot) then
  if now >= num6(hot, 2) + retention then return char(GONE, 0, 0) end
  local outcome, notes = GONE, 0
  if sub(hot, 8, 13) == attempt then
    local reason = sub(hot, 14)
    if reason == 'reuse' then outcome = REUSED end
    if reason == 'shared' then outcome, notes = REUSED, 2 end
    if reason == 'fingerprint' then outcome = OTHER end
  end
  return char(outcome, 0, notes, #hot, 0, 0) .. hot
end
if not current then return redis.error_reply('SESSIONKIT unreadable record') end

if not is_alive then return char(GONE, 0, 0) end

local settled, twice, in_row = flags % 2, floor(flags / 2) % 2, floor(flags / 4)
local LATE, SHARED, SHARED_AFTER = 1, 2, 5
local function rule(i) return sub(policy, i, i) == '1' end
local differs, notes = 0, 0
local function answer(outcome)
  local shown = rec[3] or ''
  return char(outcome, differs, notes, #hot, #cold, #shown) .. hot .. cold .. shown .. rest()
end
-- The same for an outcome that is accepted: the proof and the step-up are kept.
local seen, now_known
local function accept(outcome)
  if now_known then
    known = now_known
    call('HSET', key, id .. 'k', known)
  end
  if step_up ~= '' and outcome ~= REPEATED and sub(stepped, 1, 6) ~= attempt then
    stepped = step_up
    cold = set_further(key, id, cold, 's', stepped)
    login = byte(cold, 23)
  end
  return answer(outcome)
end
local function ended(outcome, reason)
  bury(key, id, now, retention, attempt, reason)
  local tombstone = call('HGET', key, id)
  return char(outcome, differs, notes, #tombstone, 0, 0) .. tombstone
end
local function write()
  hot = struct.pack(HOT, VERSION, current, made, prior, settled + 2 * twice + 4 * in_row, rotated, g, used) .. sub(hot, HOT_SIZE + 1)
end

-- The binding comes before everything that could help or harm. Components of
-- zeros are not bound; those that are not enforced follow the client.
local followed = bound
if bound ~= fingerprint then
  local zero, refused = string.rep('\0', 12), false
  for i = 0, 2 do
    local was, shown = sub(bound, 1 + 12 * i, 12 + 12 * i), sub(fingerprint, 1 + 12 * i, 12 + 12 * i)
    local binding = floor(enforced / 2 ^ i) % 2 == 1
    if was ~= zero and was ~= shown then
      differs = differs + 2 ^ i
      refused = refused or binding
    end
    if not binding and shown ~= zero then
      followed = sub(followed, 1, 12 * i) .. shown .. sub(followed, 13 + 12 * i)
    end
  end
  if refused then
    if rule(1) then return ended(OTHER, 'fingerprint') end
    return answer(OTHER)
  end
end

-- A family with a key asks for a proof of it, each time another one.
if known ~= '' then
  if sub(known, 1, 33) ~= sub(proof, 1, 33) then return answer(UNPROVEN) end
  local name, by = sub(proof, 34), sub(attempt, 1, 4)
  for i = 34, #known, 10 do
    if sub(known, i, i + 5) == name then
      if sub(known, i + 6, i + 9) ~= by then return answer(UNPROVEN) end
      seen = true
    end
  end
  if byte(known) == DPOP and name ~= string.rep('\0', 6) and not seen then
    now_known = sub(known, 1, 33) .. name .. by .. sub(known, 34, 53)
  end
elseif now >= created + key_within then
  return ended(GONE, 'unbound')
end

local function advance(outcome, before)
  g, current, made, prior, settled = p + 1, successor, attempt, before, 0
  if twice == 0 then in_row = 0 end
  twice = 0
  used = max(now, used)
  rotated = max(now, min(rotated, now + skew))
  write()
  if followed ~= bound or device ~= rec[3] then
    cold = sub(cold, 1, COLD_SIZE - #bound) .. followed .. sub(cold, COLD_SIZE + 1)
    rec[3] = device
    call('HSET', key, id, hot, id .. 'c', cold, id .. 'd', device)
  else
    call('HSET', key, id, hot)
  end
  keep(key, min(used + idle, absolute) - now)
  return accept(outcome)
end

if (p + 1 == g and attempt == made) or (p + 2 == g and attempt == prior) then
  must_be_primary(key)
  return accept(REPEATED)
end

if p == g and hash == current then
  local handed = rotated
  if used <= now + skew then handed = max(used, rotated) end
  local age = now - handed
  if fresh_time > 0 and age < fresh_time and age >= -skew and step_up == '' then
    must_be_primary(key) -- or it may not have heard that the family is revoked
    return accept(FRESH)
  end
  return advance(ROTATED, made)
end

if p + 1 == g and settled == 0 and not rule(3) and successor == current then
  local changed, since = false, now - rotated
  if now > used and now - used >= fresh_time / 8 then used, changed = now, true end
  if settle_time > 0 and since > parallel_time then
    if since > settle_time then notes = notes + LATE end
    if twice == 0 then twice, in_row, changed = 1, min(in_row + 1, SHARED_AFTER), true end
    if in_row >= SHARED_AFTER then notes = notes + SHARED end
  end
  if notes >= SHARED and rule(4) then return ended(REUSED, 'shared') end
  if changed then
    write()
    call('HSET', key, id, hot)
    keep(key, min(used + idle, absolute) - now)
  else
    must_be_primary(key)
  end
  return accept(REPLAYED)
end

if p > g then
  if rule(2) then return answer(BEHIND_REFUSED) end
  return advance(BEHIND, string.rep('\0', 6))
end
if p + 1 == g and (settled == 1 or rule(3)) and rotated > next_after
  or p + 1 ~= g and rotated > later_after then
  return answer(OVERTAKEN)
end
return ended(REUSED, 'reuse')
