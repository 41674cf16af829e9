-- Returns a family's fields (I, I..'c', I..'d', I..'a', I..'k', I..'s', I..'i',
-- I..'x').
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id
must_be_primary(KEYS[1])
local rec = call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. 'c', ARGV[1] .. 'd')
if not is_family(rec[1], rec[2]) then return rec end
return { rec[1], rec[2], rec[3], further(KEYS[1], ARGV[1], rec[2]) }
