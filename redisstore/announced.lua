-- Notes that revocations were announced, so that they are not again.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 family ids, joined
--
-- May run twice: the second time there is nothing left to note.
must_be_primary(KEYS[1]) -- frees memory where there is none
for i = 1, #ARGV[1], 16 do
  local id = sub(ARGV[1], i, i + 15)
  local score = tonumber(call('ZSCORE', KEYS[2], id) or '0')
  if score <= -UNTOLD then call('ZADD', KEYS[2], score + UNTOLD, id) end
end
return 1
