/*
 * Imported before all that reads or writes a file.
 *
 * Node has four threads for files. A disk that hangs keeps one for each file that furiwake is writing there: the ledger, the table, the
 * record of addresses, drains. With four of them HAProxy, whose files are in /run, could not be started again. A thread that is not
 * used costs a few kilobytes.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16';
