foreach(file text output options command complete sql_split sql_print prompt http)
  mha_unit_test(test_shell_${file} SOURCES unit/test_shell_${file}.c LIBS shell_core)
endforeach()
