-- Lays a token before its family: refresh.Decide, case by case in its order.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 presented generation p  3 hash of its secret
--          4 how the record would begin: version | hash of the successor's
--          secret | attempt  5 how it would end: settled 0 | now | p + 1
--          6 fingerprint  7 device  8 now  9 rules, a digit each: enforced
--          components, revoke on mismatch, refuse store behind, single use;
--          then the retention
-- Returns  outcome, differing components, and the family's fields afterwards
--          (I, I..'c', I..'d', I..'a'), none where there is no family
--
-- May run twice: the attempt that made the current generation, or the one
-- before, or that ended the family, is told what it was told.
local GONE, OTHER, REPEATED, ROTATED, REPLAYED, BEHIND, BEHIND_REFUSED, REUSED = 0, 1, 2, 3, 4, 5, 6, 7

local key, id = KEYS[1], ARGV[1]
local p, hash, successor, attempt = tonumber(ARGV[2]), ARGV[3], sub(ARGV[4], 2, 33), sub(ARGV[4], 34, 39)
local fingerprint, device, now, rules = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
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
  hot = ARGV[4] .. prior .. '\0' .. enc6(rotated) .. enc4(p + 1) .. sub(hot, 57)
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
return ended(REUSED, 'reuse')
