-- Lays a proof of a device key before a family: family.BindRequest.Decide.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 kind of the key 1 | its thumbprint 32  3 attempt
--          4 fingerprint  5 device  6 now | idle timeout of today | lifetime of
--          remembered logins | lifetime of the others, 6 each
-- Returns  outcome; differing components; the family's fields afterwards, as
--          find.lua does
--
-- May run twice: the attempt that bound the family is told so again.
local GONE, UNPROVEN, BOUND, RENEWED = 0, 10, 11, 12
local key, id, shown, attempt, fingerprint, device = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, idle, remembered, browser = struct.unpack('>I6I6I6I6', ARGV[6])
must_be_primary(key)
local rec = call('HMGET', key, id, id .. 'c', id .. 'd')
local hot, cold = rec[1], rec[2]
if is_tombstone(hot) then return { GONE, 0, hot } end
if not is_family(hot, cold) then
  if hot then return redis.error_reply('SESSIONKIT unreadable record') end
  return { GONE, 0 }
end
local lifetime = has(cold, REMEMBER) and remembered or browser
local used = num6(hot, 57)
if now >= expires_at(hot, cold) or now >= used + idle or now >= num6(cold, 2) + lifetime then
  return { GONE, 0 }
end

-- What differs is only reported, and follows the client.
local bound, followed, differs, zero = sub(cold, 24, 59), '', 0, string.rep('\0', 12)
for i = 0, 2 do
  local was, is = sub(bound, 1 + 12 * i, 12 + 12 * i), sub(fingerprint, 1 + 12 * i, 12 + 12 * i)
  if was ~= zero and was ~= is then differs = differs + 2 ^ i end
  followed = followed .. (is ~= zero and is or was)
end

local auth, known, stepped, actor, data = further(key, id, cold)
local function answer(outcome)
  return { outcome, differs, hot, cold, rec[3] or '', auth, known, stepped, actor, data }
end
local outcome = RENEWED
if known == '' then
  outcome, known = BOUND, shown
  cold = set_further(key, id, cold, 'k', known)
  hot = sub(hot, 1, 33) .. attempt .. string.rep('\0', 6) .. sub(hot, 46)
elseif sub(known, 1, 33) ~= shown then
  return answer(UNPROVEN)
elseif sub(hot, 34, 39) == attempt then
  outcome = BOUND
end
if now > used or followed ~= bound or device ~= rec[3] then
  hot = sub(hot, 1, 56) .. enc6(math.max(now, used)) .. sub(hot, 63)
  cold = sub(cold, 1, 23) .. followed .. sub(cold, 60)
  rec[3] = device
end
call('HSET', key, id, hot, id .. 'c', cold, id .. 'd', rec[3])
keep(key, math.min(num6(hot, 57) + num4(cold, 19) * 1000, num6(cold, 13)) - now)
return answer(outcome)
