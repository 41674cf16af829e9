-- Lays a token before its family: refresh.Decide, case by case in its order.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 presented generation p  3 hash of its secret
--          4 hash of the successor's secret  5 attempt  6 fingerprint
--          7 device  8 enforced components  9 revoke on mismatch
--          10 refuse store behind  11 single use  12 now  13 retention
-- Returns  outcome, differing components, and the family's fields afterwards
--          (I, I..'c', I..'d', I..'a'), none where there is no family
--
-- May run twice: the attempt that made the current generation, or the one
-- before, or that ended the family, is told what it was told.
local GONE, OTHER, REPEATED, ROTATED, REPLAYED, BEHIND, BEHIND_REFUSED, REUSED = 0, 1, 2, 3, 4, 5, 6, 7

local key, id = KEYS[1], ARGV[1]
local p, hash, successor, attempt = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local fingerprint, device, enforced = ARGV[6], ARGV[7], tonumber(ARGV[8])
local now, retention = tonumber(ARGV[12]), tonumber(ARGV[13])

local rec = redis.call('HMGET', key, id, id .. 'c', id .. 'd', id .. 'a')
local hot, cold = rec[1], rec[2]
if not hot then
  absent(key, id)
  return { GONE, 0 }
end

if is_tombstone(hot) then
  if now >= num(hot, 2, 6) + retention then return { GONE, 0 } end
  local outcome = GONE
  if string.sub(hot, 8, 13) == attempt then
    local reason = string.sub(hot, 14)
    if reason == 'reuse' then outcome = REUSED elseif reason == 'fingerprint' then outcome = OTHER end
  end
  return { outcome, 0, hot }
end
if not is_family(hot, cold) then return redis.error_reply('SESSIONKIT unreadable record') end
if now >= expires_at(hot, cold) then return { GONE, 0 } end

-- The binding comes before everything that could help or harm.
local differs, refused = 0, false
for i = 0, 2 do
  local bound = string.sub(cold, 24 + 12 * i, 35 + 12 * i)
  if bound ~= ZERO and bound ~= string.sub(fingerprint, 1 + 12 * i, 12 + 12 * i) then
    differs = differs + 2 ^ i
    if math.floor(enforced / 2 ^ i) % 2 == 1 then refused = true end
  end
end
local function ended(outcome, reason)
  bury(key, id, now, retention, attempt, reason)
  return { outcome, differs, redis.call('HGET', key, id) }
end
if refused then
  if ARGV[9] == '1' then return ended(OTHER, 'fingerprint') end
  return { OTHER, differs, hot, cold, rec[3], rec[4] }
end

local function advance(outcome, prior)
  local rotated = math.max(now, num(hot, 47, 6))
  hot = string.char(VERSION) .. successor .. attempt .. prior .. '\0'
    .. enc(rotated, 6) .. enc(p + 1, 4) .. string.sub(hot, 57)
  local bound = cold
  for i = 0, 2 do
    local shown = string.sub(fingerprint, 1 + 12 * i, 12 + 12 * i)
    if math.floor(enforced / 2 ^ i) % 2 == 0 and shown ~= ZERO then
      bound = string.sub(bound, 1, 23 + 12 * i) .. shown .. string.sub(bound, 36 + 12 * i)
    end
  end
  if bound ~= cold or device ~= rec[3] then
    cold = bound
    redis.call('HSET', key, id, hot, id .. 'c', cold, id .. 'd', device)
  else
    redis.call('HSET', key, id, hot)
  end
  keep(key, expires_at(hot, cold) - now)
  return { outcome, differs, hot, cold, device, rec[4] }
end

local g, current = num(hot, 53, 4), string.sub(hot, 2, 33)
local made, prior = string.sub(hot, 34, 39), string.sub(hot, 40, 45)
if (p + 1 == g and attempt == made) or (p + 2 == g and attempt == prior) then
  return { REPEATED, differs, hot, cold, rec[3], rec[4] }
end
if p == g and hash == current then return advance(ROTATED, made) end
if p + 1 == g and string.byte(hot, 46) == 0 and ARGV[11] ~= '1' and successor == current then
  return { REPLAYED, differs, hot, cold, rec[3], rec[4] }
end
if p > g then
  if ARGV[10] == '1' then return { BEHIND_REFUSED, differs, hot, cold, rec[3], rec[4] } end
  return advance(BEHIND, string.rep('\0', 6))
end
return ended(REUSED, 'reuse')
