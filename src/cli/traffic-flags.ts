import * as z from 'zod';
import type { Site } from '../core/model/site.ts';
import type { Flags } from './flags.ts';
import { defaultAnnotations, seconds, secondsExpected, syslogAddress, yesNo, zoneName } from './values.ts';

/** Nothing of it can be checked. */
export type TrafficOptions = {
  readonly defaults: Site['defaults'];
  readonly zone: string | undefined;
  /** A syslog server. */
  readonly connectionLog: { readonly host: string; readonly port: number } | undefined;
  readonly idleTimeoutSeconds: number;
  readonly directIdleSeconds: number;
  /** How long a node may be silent before its connections are reset. */
  readonly nodeSilenceSeconds: number;
  readonly onLeaseLoss: 'withdraw' | 'keep';
  readonly stopsTrafficOnExit: boolean;
};

export const trafficFlags: Flags<TrafficOptions> = {
  defaults: {
    schema: defaultAnnotations,
    syntax: '--default-annotation <name=value>',
    group: 'Traffic',
    help: 'annotation furiwake.dev/… of Services that do not have it; repeatable',
    expected: 'NAME=VALUE, e.g. furiwake.dev/backends=pods',
    isRepeatable: true,
  },
  zone: {
    schema: zoneName.optional(),
    syntax: '--zone <name>',
    group: 'Traffic',
    help: 'the zone of this host: with Pods as servers, those that are for it by trafficDistribution are preferred',
    expected: 'the value of a label topology.kubernetes.io/zone',
  },
  connectionLog: {
    schema: syslogAddress.optional(),
    syntax: '--connection-log <ip:port>',
    group: 'Traffic',
    help: 'syslog server (UDP, RFC 5424) that gets a line for each connection through HAProxy',
    expected: 'an IP address with a port, e.g. 127.0.0.1:514 or [2001:db8::9]:514',
  },
  idleTimeoutSeconds: {
    schema: seconds(1),
    syntax: '--idle-timeout <seconds>',
    group: 'Traffic',
    help: 'close connections that are idle for this long',
    byDefault: '3600',
    expected: secondsExpected(1, 3600),
  },
  directIdleSeconds: {
    schema: seconds(60),
    syntax: '--direct-idle-timeout <seconds>',
    group: 'Traffic',
    help: 'how long an idle TCP connection of direct stays with its node when the nodes change',
    byDefault: '10800',
    expected: secondsExpected(60, 10800),
  },
  nodeSilenceSeconds: {
    schema: seconds(3),
    syntax: '--node-silence-timeout <seconds>',
    group: 'Traffic',
    help: 'reset the connections of a node that is silent for this long; new ones avoid it after 3 s',
    byDefault: '15',
    expected: secondsExpected(3, 15),
  },
  onLeaseLoss: {
    schema: z.enum(['withdraw', 'keep']),
    syntax: '--on-lease-loss <withdraw|keep>',
    group: 'Traffic',
    help: 'when another host may take over: withdraw the addresses of this host, or keep them (if you fence it yourself)',
    byDefault: 'withdraw',
    expected: 'withdraw or keep',
  },
  stopsTrafficOnExit: {
    schema: yesNo,
    syntax: '--stop-traffic-on-exit [yes|no]',
    group: 'Traffic',
    help: 'on exit, stop HAProxy and remove all addresses and rules',
    byDefault: 'no',
    preset: 'yes',
    expected: 'yes or no',
  },
};
