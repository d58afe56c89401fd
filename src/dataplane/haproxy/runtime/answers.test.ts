import { expect, test } from 'vitest';
import { parseInfo, parseMap, parseServersState, parseStat, parseTable } from './answers.ts';
import { answerOf } from '../checks/health-tick.ts';

// Shortened answers of HAProxy 2.6.12.

test('show info: process id, version, description, connections, age, whether it is ending', () => {
  const answer = [
    'Name: HAProxy',
    'Version: 2.6.12-1+deb12u4',
    'Pid: 27054',
    'Uptime: 0d 0h02m05s',
    'Uptime_sec: 125',
    'Maxconn: 4000',
    'Hard_maxconn: 5000',
    'CurrConns: 3',
    'Stopping: 1',
    'description: furiwake 88d2feb3dce57058',
  ].join('\n');
  expect(parseInfo(answer)).toEqual({
    pid: 27_054,
    version: '2.6.12-1+deb12u4',
    description: 'furiwake 88d2feb3dce57058',
    connections: 3,
    maxConnections: 4000,
    hardMaxConnections: 5000,
    upSeconds: 125,
    isStopping: true,
  });
  expect(() => parseInfo('Unknown command.')).toThrow('no process id');
});

test('show stat: columns are found by the header, in any order, and a comma may stand in quotes', () => {
  const answer = [
    '# pxname,svname,scur,stot,status,check_status,last_chk,addr,qcur,econ,eresp,',
    'nodes4,n1,2,17,UP,L7OK,,10.20.0.11:0,5,1,2,',
    'nodes4,n2,0,4,DOWN,L7STS,"Not here, ""really""",[fd20::12]:0,,,,',
  ].join('\n');
  expect(parseStat(answer)).toEqual([
    {
      backend: 'nodes4',
      server: 'n1',
      address: '10.20.0.11',
      status: 'UP',
      checkStatus: 'L7OK',
      lastCheck: '',
      connections: 2,
      total: 17,
      queued: 5,
      errors: 3,
    },
    {
      backend: 'nodes4',
      server: 'n2',
      address: 'fd20::12',
      status: 'DOWN',
      checkStatus: 'L7STS',
      lastCheck: 'Not here, "really"',
      connections: 0,
      total: 4,
      queued: 0,
      errors: 0,
    },
  ]);
  expect(parseStat('# pxname,svname,scur')).toEqual([]);
});

test('show table: an IPv6 key, fields in any order, counters that are not kept are 0', () => {
  const answer = [
    '# table: services, type: string, size:204800, used:2',
    '0x556eea952468: key=10.50.0.1|80 use=0 exp=0 conn_cnt=9 conn_cur=1 gpc0=4 bytes_in_cnt=711 bytes_out_cnt=1125',
    '0x556eea952500: key=fd50::1|80 use=0 exp=0 shard=0 conn_cur=0 conn_cnt=2',
  ].join('\n');
  expect(parseTable(answer)).toEqual([
    { key: '10.50.0.1|80', connections: 1, total: 9, bytesIn: 711, bytesOut: 1125, refused: 4 },
    { key: 'fd50::1|80', connections: 0, total: 2, bytesIn: 0, bytesOut: 0, refused: 0 },
  ]);
});

test('show map: of two entries with one key the first is in force', () => {
  expect(parseMap('0x55 a|80 nodes4|1|2\n0x56 b|80 x\n0x57 a|80 y')).toEqual(
    new Map([
      ['a|80', 'nodes4|1|2'],
      ['b|80', 'x'],
    ]),
  );
  expect(parseMap('')).toEqual(new Map());
});

test('show servers state: maintenance and drain by command, not by health or tracking', () => {
  const header = '# be_name srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_check_state srv_port';
  const lines = [
    'nodes4 n1 10.20.0.11 2 0 1 6 0', // ready
    'nodes4 n2 10.20.0.12 0 1 1 14 0', // maint; its check is enabled and paused
    'nodes4 n3 10.20.0.13 2 8 1 2 0', // drain, check disabled
    'nodes4 n4 10.20.0.14 0 5 1 14 0', // disabled in the configuration
    'nodes4 n5 10.20.0.15 2 12 1 6 0', // then drain by command
    'other s1 10.20.0.11 0 2 3 0 30692', // tracks one in maint
  ];
  const states = parseServersState(['1', header, ...lines].join('\n'));
  expect(states.map(({ server, admin, isChecked }) => `${server} ${admin} ${isChecked}`)).toEqual([
    'n1 ready true',
    'n2 maint true',
    'n3 drain false',
    'n4 maint true',
    'n5 drain true',
    's1 ready false',
  ]);
  expect(states.at(-1)).toMatchObject({ backend: 'other', address: '10.20.0.11' });
  expect(parseServersState(`1\n${header}`)).toEqual([]);
});

test.each([
  ['L7OK', '', 'ok'],
  ['L7STS', 'Service Unavailable', 'unhealthy'],
  ['L7RSP', '', 'alive'],
  ['L7TOUT', '', 'alive'],
  ['L4CON', 'Connection refused', 'alive'],
  ['L4CON', 'Connection reset by peer', 'alive'],
  ['L4CON', 'No route to host', 'silent'],
  ['L4CON', 'General socket error (Network is unreachable)', 'silent'],
  ['L4TOUT', '', 'silent'],
  ['* L4TOUT', '', 'silent'],
  ['* L7OK', '', 'ok'],
  ['* L4CON', '', undefined],
  ['* INI', '', undefined],
  ['SOCKERR', 'Too many open files', undefined],
  ['', '', undefined],
])('the result of a check that ended as %s (%s) is %s', (checkStatus, lastCheck, answer) => {
  expect(answerOf({ checkStatus, lastCheck })).toBe(answer);
});
