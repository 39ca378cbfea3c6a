-- Written one by one, the thousands of new words of an import took longer than one statement may. Some kilobytes of them may
-- wait in a list now, which a search reads in no time.

alter index search_vocabulary_alike set (fastupdate = on, gin_pending_list_limit = 128);
