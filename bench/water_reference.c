/* The water plant's program Control, written by hand in C: what a C programmer's compiler makes of the same control law.
   Reference of bench/scan.py; the same inputs, the same outputs, no bounds or fault checks. */
#include <stdint.h>
#include <string.h>

typedef struct { float out; uint8_t started; } low_pass_t;
typedef struct { int64_t start, et; uint8_t in, q; } ton_t;
typedef struct { uint8_t q1; } sr_t;
typedef struct { int64_t start; uint8_t last, q; } tp_t;
typedef struct { uint8_t last, q; } r_trig_t;

enum { STOPPED, STARTING, RUNNING, STOPPING, TRIPPED };

typedef struct {
  int16_t level1_raw, level2_raw, flow_raw, temperature_raw, inlet_flow_raw, speed_raw;
  uint8_t over_temperature, feedback, high_float2, low_float1, online;
  uint8_t pump_run, inlet_open, horn;
  int16_t setpoint_raw;
  float flow_measured, inlet_measured;
  uint32_t pump_starts;
  float level1_low, level1_high, level2_low, level2_high, flow_setpoint;
  uint8_t automatic, reset, demand, sensor_fault;
  float level1, level2, flow, temperature, speed;
  low_pass_t f1, f2, f3;
  sr_t inlet;
  int state;
  uint8_t run, trip;
  uint32_t starts;
  ton_t run_up, standstill, lost;
  r_trig_t reset_edge, trip_edge;
  float pi_out, pi_last;
  tp_t pulse;
} water_t;

static float scale(int16_t raw, float low, float high) { return low + (float)raw * (high - low) / 27648.0f; }

static void low_pass(low_pass_t *f, float in, int64_t t, int64_t period) {
  if (f->started)
    f->out += (in - f->out) * (float)(period / 1000000) / ((float)(t / 1000000) + (float)(period / 1000000));
  else {
    f->out = in;
    f->started = 1;
  }
}

static void ton(ton_t *t, uint8_t in, int64_t pt, int64_t now) {
  if (!in) {
    t->et = 0;
    t->q = 0;
  } else {
    if (!t->in) t->start = now;
    t->et = now - t->start;
    if (t->et >= pt) {
      t->et = pt;
      t->q = 1;
    }
  }
  t->in = in;
}

static void edge(r_trig_t *t, uint8_t clk) {
  t->q = clk && !t->last;
  t->last = clk;
}

static void pump(water_t *w, uint8_t demand, uint8_t interlock, uint8_t hold, int64_t now) {
  edge(&w->reset_edge, w->reset);
  ton(&w->standstill, w->state == STOPPED, 3000000000LL, now);
  ton(&w->run_up, w->state == STARTING, 5000000000LL, now);
  ton(&w->lost, w->state == RUNNING && !w->feedback, 500000000LL, now);
  switch (w->state) {
    case STOPPED:
      if (interlock) w->state = TRIPPED;
      else if (demand && !hold && w->standstill.q) { w->state = STARTING; w->starts++; }
      break;
    case STARTING:
      if (interlock || w->run_up.q) w->state = TRIPPED;
      else if (hold || !demand) w->state = STOPPING;
      else if (w->feedback) w->state = RUNNING;
      break;
    case RUNNING:
      if (interlock || w->lost.q) w->state = TRIPPED;
      else if (hold || !demand) w->state = STOPPING;
      break;
    case STOPPING:
      if (interlock) w->state = TRIPPED;
      else if (!w->feedback) w->state = STOPPED;
      break;
    case TRIPPED:
      if (w->reset_edge.q && !interlock) w->state = STOPPED;
      break;
  }
  w->run = w->state == STARTING || w->state == RUNNING;
  w->trip = w->state == TRIPPED;
}

static void control(water_t *w, int64_t now) {
  const int64_t period = 20000000LL;
  low_pass(&w->f1, scale(w->level1_raw, 0, 100), 1000000000LL, period);
  low_pass(&w->f2, scale(w->level2_raw, 0, 100), 1000000000LL, period);
  low_pass(&w->f3, scale(w->flow_raw, 0, 12), 300000000LL, period);
  w->level1 = w->f1.out;
  w->level2 = w->f2.out;
  w->flow = w->f3.out;
  w->flow_measured = w->flow;
  w->inlet_measured = scale(w->inlet_flow_raw, 0, 12);
  w->temperature = (float)w->temperature_raw / 10.0f;
  w->speed = scale(w->speed_raw, 0, 100);
  w->sensor_fault = w->level1_raw < -500 || w->level1_raw > 28500 || w->level2_raw < -500 || w->level2_raw > 28500;
  w->inlet.q1 = w->level1 < w->level1_low || (w->inlet.q1 && !(w->level1 > w->level1_high));
  w->inlet_open = w->inlet.q1 && w->level1 < w->level1_high && w->automatic && w->online && !w->sensor_fault;
  if (w->level2 < w->level2_low) w->demand = 1;
  else if (w->level2 > w->level2_high) w->demand = 0;
  pump(w, w->demand && w->automatic, w->over_temperature,
       !w->online || w->sensor_fault || w->low_float1 || w->high_float2, now);
  w->pump_run = w->run && w->online;
  w->pump_starts = w->starts;
  float error = w->flow_setpoint - w->flow;
  if (w->state == RUNNING) {
    w->pi_out += 3.0f * (error - w->pi_last) + 3.0f * error * (float)(period / 1000000) / 2000.0f;
    if (w->pi_out < 25.0f) w->pi_out = 25.0f;
    if (w->pi_out > 100.0f) w->pi_out = 100.0f;
  } else w->pi_out = 40.0f;
  w->pi_last = error;
  w->setpoint_raw = w->pump_run ? (int16_t)(w->pi_out * 276.48f) : 0;
  edge(&w->trip_edge, w->trip);
  if (w->trip_edge.q && !w->pulse.last && !w->pulse.q) { w->pulse.start = now; w->pulse.q = 1; }
  if (w->pulse.q && now - w->pulse.start >= 3000000000LL) w->pulse.q = 0;
  w->pulse.last = w->trip_edge.q;
  w->horn = w->pulse.q;
}

/* Scans with inputs that move, so that nothing can be computed once; a checksum, so that nothing can be left out. */
int64_t run(int64_t scans) {
  static water_t w;
  memset(&w, 0, sizeof w);
  w.level1_low = 40; w.level1_high = 70; w.level2_low = 45; w.level2_high = 75; w.flow_setpoint = 6;
  w.automatic = w.online = 1;
  int64_t sum = 0;
  for (int64_t n = 0; n < scans; n++) {
    w.level1_raw = (int16_t)((n * 7) % 27648);
    w.level2_raw = (int16_t)((n * 5) % 27648);
    w.flow_raw = (int16_t)((n * 3) % 27648);
    w.feedback = w.pump_run;
    control(&w, n * 20000000LL);
    sum += w.setpoint_raw + w.pump_run + w.inlet_open;
  }
  return sum;
}
