mha_unit_test(test_frontend_token SOURCES unit/test_frontend_token.c LIBS store)
mha_unit_test(test_frontend_messages SOURCES unit/test_frontend_messages.c LIBS store)
mha_unit_test(test_frontend_types SOURCES unit/test_frontend_types.c LIBS store)
mha_unit_test(test_frontend_shadow SOURCES unit/test_frontend_shadow.c LIBS store)
mha_unit_test(test_store_guard SOURCES unit/test_store_guard.c LIBS store)
# Its own dq_* and interrupt_*, so that the order of what reaches dqlite can be seen, and its answers made.
mha_unit_test(test_store_writer SOURCES unit/test_store_writer.c ${CMAKE_SOURCE_DIR}/store/writer.c ${CMAKE_SOURCE_DIR}/store/writer_tx.c
  ${CMAKE_SOURCE_DIR}/store/writer_unit.c ${CMAKE_SOURCE_DIR}/store/writer_join.c
  LIBS base PkgConfig::UV sqlite3 Threads::Threads)
