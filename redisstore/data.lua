-- Sets the app's data of a live family.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 data  3 now
-- Returns  the family's fields, as find.lua does
--
-- May run twice: the last call wins.
local key, id = KEYS[1], ARGV[1]
must_be_primary(key)
local rec = call('HMGET', key, id, id .. 'c', id .. 'd')
if not is_family(rec[1], rec[2]) then return rec end
if tonumber(ARGV[3]) < expires_at(rec[1], rec[2]) then
  if ARGV[2] ~= '' then
    rec[2] = set_further(key, id, rec[2], 'x', ARGV[2])
  else
    call('HDEL', key, id .. 'x')
  end
end
return { rec[1], rec[2], rec[3], further(key, id, rec[2]) }
