import * as z from 'zod';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { type IpRange, parseRange } from '../core/ip/range.ts';

export const ipText: z.ZodType<Ip, string> = z.string().transform((text, context): Ip => {
  const ip = parseIp(text);
  if (ip !== undefined) return ip;
  context.addIssue({ code: 'custom', message: `${text} is not an IP address` });
  return z.NEVER;
});

export const rangeText: z.ZodType<IpRange, string> = z.string().transform((text, context): IpRange => {
  const range = parseRange(text);
  if (range !== undefined) return range;
  context.addIssue({ code: 'custom', message: `${text} is not a range of addresses` });
  return z.NEVER;
});

export const port: z.ZodType<number, number> = z.int().min(1).max(65_535);
