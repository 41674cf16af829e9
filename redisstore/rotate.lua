-- Lays a token before its family: family.Decide, case by case in its order.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id
--          2 hash of the presented secret 32 | its generation p 4 |
--            fingerprint 36 | how the record would begin: version 1, hash of
--            the successor's secret 32, attempt 6 | how it would end: settled
--            1, now 6, p + 1 4 | the rotation of the current generation after
--            which the presentation is overtaken: if that is p + 1 6, if it is
--            another 6 | rules, a digit each: enforced components, revoke on
--            mismatch, refuse store behind, single use | retention
--          3 device
-- Returns  outcome, differing components, and the family's fields afterwards
--          (I, I..'c', I..'d', I..'a'), none where there is no family; or what
--          ordinary.lua says
--
-- May run twice: the attempt that made the current generation, or the one
-- before, or that ended the family, is told what it was told.
local GONE, OTHER, REPEATED, ROTATED, REPLAYED, BEHIND, BEHIND_REFUSED, REUSED, OVERTAKEN = 0, 1, 2, 3, 4, 5, 6, 7, 8

local key, id, move, device = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local hash, p, fingerprint, beginning = sub(move, 1, 32), num4(move, 33), sub(move, 37, 72), sub(move, 73, 111)
local successor, attempt, now, rules = sub(beginning, 2, 33), sub(beginning, 34, 39), num6(move, 113), sub(move, 135)
local enforced, retention = tonumber(sub(rules, 1, 1)), tonumber(sub(rules, 5))
local function rule(i) return sub(rules, i, i) == '1' end

local rec = call('HMGET', key, id, id .. 'c', id .. 'd', id .. 'a')
local hot, cold = rec[1], rec[2]
if not hot then
  must_be_primary(key)
  return { GONE, 0 }
end

if is_tombstone(hot) then
  if now >= num6(hot, 2) + retention then return { GONE, 0 } end
  local outcome = GONE
  if sub(hot, 8, 13) == attempt then
    local reason = sub(hot, 14)
    if reason == 'reuse' then outcome = REUSED elseif reason == 'fingerprint' then outcome = OTHER end
  end
  return { outcome, 0, hot }
end
if not is_family(hot, cold) then return redis.error_reply('SESSIONKIT unreadable record') end
if now >= expires_at(hot, cold) then return { GONE, 0 } end

local differs = 0
local function answer(outcome)
  return { outcome, differs, hot, cold, rec[3], rec[4] }
end
local function ended(outcome, reason)
  bury(key, id, now, retention, attempt, reason)
  return { outcome, differs, call('HGET', key, id) }
end

-- The binding comes before everything that could help or harm. Components of
-- zeros are not bound; those that are not enforced follow the client.
local bound = cold
if sub(cold, 24, 59) ~= fingerprint then
  local zero, refused = string.rep('\0', 12), false
  for i = 0, 2 do
    local was, shown = sub(cold, 24 + 12 * i, 35 + 12 * i), sub(fingerprint, 1 + 12 * i, 12 + 12 * i)
    local binding = floor(enforced / 2 ^ i) % 2 == 1
    if was ~= zero and was ~= shown then
      differs = differs + 2 ^ i
      refused = refused or binding
    end
    if not binding and shown ~= zero then
      bound = sub(bound, 1, 23 + 12 * i) .. shown .. sub(bound, 36 + 12 * i)
    end
  end
  if refused then
    if rule(2) then return ended(OTHER, 'fingerprint') end
    return answer(OTHER)
  end
end

local function advance(outcome, prior)
  local rotated = math.max(now, num6(hot, 47))
  hot = beginning .. prior .. '\0' .. enc6(rotated) .. enc4(p + 1) .. sub(hot, 57)
  if bound ~= cold or device ~= rec[3] then
    cold, rec[3] = bound, device
    call('HSET', key, id, hot, id .. 'c', cold, id .. 'd', device)
  else
    call('HSET', key, id, hot)
  end
  keep(key, expires_at(hot, cold) - now)
  return answer(outcome)
end

local g, current = num4(hot, 53), sub(hot, 2, 33)
local made, prior = sub(hot, 34, 39), sub(hot, 40, 45)
if (p + 1 == g and attempt == made) or (p + 2 == g and attempt == prior) then return answer(REPEATED) end
if p == g and hash == current then return advance(ROTATED, made) end
if p + 1 == g and byte(hot, 46) == 0 and not rule(4) and successor == current then return answer(REPLAYED) end
if p > g then
  if rule(3) then return answer(BEHIND_REFUSED) end
  return advance(BEHIND, string.rep('\0', 6))
end
if p + 1 == g and (byte(hot, 46) ~= 0 or rule(4)) and num6(hot, 47) > num6(move, 123)
  or p + 1 ~= g and num6(hot, 47) > num6(move, 129) then
  return answer(OVERTAKEN)
end
return ended(REUSED, 'reuse')
