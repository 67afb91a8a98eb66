PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE batches (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        batch_id TEXT UNIQUE NOT NULL,
        season   INTEGER NOT NULL,
        bytes    INTEGER NOT NULL,
        state    TEXT NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'acknowledged')),
        crc      INTEGER NOT NULL
    );
INSERT INTO "batches" VALUES(1,'first',2005,700,'acknowledged',385564574);
INSERT INTO "batches" VALUES(2,'second',2006,500,'prepared',1522630687);
CREATE TABLE boots (
        boot      INTEGER PRIMARY KEY AUTOINCREMENT,
        boot_id   TEXT UNIQUE NOT NULL,
        first_utc TEXT NOT NULL,
        crc       INTEGER NOT NULL
    );
INSERT INTO "boots" VALUES(1,'boot-2005','2005-05-01T12:00:00Z',2285595052);
INSERT INTO "boots" VALUES(2,'boot-2006','2006-05-01T12:00:00Z',3805912936);
CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        kind     TEXT NOT NULL,
        boot     INTEGER,
        time_utc TEXT NOT NULL,
        last_utc TEXT NOT NULL,
        times    INTEGER NOT NULL DEFAULT 1,
        crc      INTEGER NOT NULL,
        text     TEXT NOT NULL,
        body     TEXT NOT NULL
    );
INSERT INTO "events" VALUES(1,'replaced',2,'2006-05-01T12:00:00Z','2006-05-01T12:00:00Z',1,522283180,'2006/champion-00/operations/2006-05-03 was corrected: it was another amount','{"former":{"record_id":"2006/champion-00/operations/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","source":"override"}}');
INSERT INTO "events" VALUES(2,'replaced',2,'2006-05-01T12:00:00Z','2006-05-01T12:00:00Z',1,3278533494,'2006/champion-00/operations/2006-05-01 was corrected: it was another amount','{"former":{"record_id":"2006/champion-00/operations/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","source":"override"}}');
INSERT INTO "events" VALUES(3,'evicted',2,'2006-05-01T12:00:00Z','2006-05-01T12:00:00Z',1,2463177723,'made room: 1 a day (0 kB)','{"what":"a day","rows":1,"bytes":131}');
INSERT INTO "events" VALUES(4,'link',2,'2006-05-01T12:00:00Z','2006-05-01T12:00:00Z',3,1774008975,'no gateway','{"tries":3}');
INSERT INTO "events" VALUES(5,'clock',2,'2006-05-01T12:00:00Z','2006-05-01T12:00:00Z',1,1490717408,'the time was confirmed','{}');
CREATE TABLE origins (
        origin INTEGER PRIMARY KEY AUTOINCREMENT,
        name   TEXT NOT NULL,
        crc    INTEGER NOT NULL,
        UNIQUE (name, crc)
    );
INSERT INTO "origins" VALUES(1,'station',1496695032);
INSERT INTO "origins" VALUES(2,'probes',3229852552);
CREATE TABLE records (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id  TEXT UNIQUE NOT NULL,
        season     INTEGER NOT NULL,
        table_name TEXT NOT NULL,
        date       TEXT NOT NULL,
        state      TEXT NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'selected', 'acknowledged')),
        batch_id   TEXT,
        bytes      INTEGER NOT NULL,
        boot       INTEGER,
        stored_utc TEXT,
        is_time_trusted INTEGER NOT NULL DEFAULT 0,
        crc        INTEGER NOT NULL,
        flags      TEXT,
        body       TEXT NOT NULL
    );
INSERT INTO "records" VALUES(1,'2005/champion-00/fields',2005,'fields','2005-05-01','acknowledged','first',523,1,'2005-05-01T12:00:00Z',0,3040240970,NULL,'{"record_id":"2005/champion-00/fields","season":2005,"region":"champion","field_id":"champion-00","device_id":"dev-00","crop":"maize","soil":"SandyLoam","planting_date":"2005-05-01","field_capacity_m3_m3":0.22,"wilting_point_m3_m3":0.1,"saturation_m3_m3":0.41,"root_depth_max_m":1.5,"initial_water_pct":null,"application_efficiency":1.0,"irrigation_capacity_mm":25.0,"water_allowance_mm":400.0,"grain_price_usd_t":180.0,"water_price_usd_mm":1.0,"nitrogen_price_usd_kg":1.0,"fixed_cost_usd_ha":1728.0,"practice":"fieldloop"}');
INSERT INTO "records" VALUES(2,'2005/champion-00/readings/2005-05-01',2005,'readings','2005-05-01','acknowledged','first',145,1,'2005-05-01T12:00:00Z',0,1796673967,NULL,'{"record_id":"2005/champion-00/readings/2005-05-01","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-01","rain_mm":0.0}');
INSERT INTO "records" VALUES(3,'2005/champion-00/recommendations/2005-05-01',2005,'recommendations','2005-05-01','acknowledged','first',214,1,'2005-05-01T12:00:00Z',0,1262338483,NULL,'{"record_id":"2005/champion-00/recommendations/2005-05-01","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-01","yield_p10_t_ha":5.0,"yield_p90_t_ha":7.0,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(4,'2005/champion-00/operations/2005-05-01',2005,'operations','2005-05-01','acknowledged','first',153,1,'2005-05-01T12:00:00Z',0,3748477145,NULL,'{"record_id":"2005/champion-00/operations/2005-05-01","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-01","source":"override"}');
INSERT INTO "records" VALUES(5,'2005/champion-00/readings/2005-05-02',2005,'readings','2005-05-02','stored',NULL,145,1,'2005-05-01T12:00:00Z',0,2397953825,'{"rain_mm":"flat"}','{"record_id":"2005/champion-00/readings/2005-05-02","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-02","rain_mm":0.5}');
INSERT INTO "records" VALUES(6,'2005/champion-00/recommendations/2005-05-02',2005,'recommendations','2005-05-02','stored',NULL,216,1,'2005-05-01T12:00:00Z',0,3060226197,NULL,'{"record_id":"2005/champion-00/recommendations/2005-05-02","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-02","yield_p10_t_ha":null,"yield_p90_t_ha":null,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(7,'2005/champion-00/operations/2005-05-02',2005,'operations','2005-05-02','stored',NULL,153,1,'2005-05-01T12:00:00Z',0,2841286277,NULL,'{"record_id":"2005/champion-00/operations/2005-05-02","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-02","source":"override"}');
INSERT INTO "records" VALUES(8,'2005/champion-00/readings/2005-05-03',2005,'readings','2005-05-03','stored',NULL,145,1,'2005-05-01T12:00:00Z',0,2499331473,NULL,'{"record_id":"2005/champion-00/readings/2005-05-03","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-03","rain_mm":1.0}');
INSERT INTO "records" VALUES(9,'2005/champion-00/recommendations/2005-05-03',2005,'recommendations','2005-05-03','stored',NULL,216,1,'2005-05-01T12:00:00Z',0,1421352818,NULL,'{"record_id":"2005/champion-00/recommendations/2005-05-03","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-03","yield_p10_t_ha":8.25,"yield_p90_t_ha":9.35,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(10,'2005/champion-00/operations/2005-05-03',2005,'operations','2005-05-03','stored',NULL,153,1,'2005-05-01T12:00:00Z',0,845614734,NULL,'{"record_id":"2005/champion-00/operations/2005-05-03","season":2005,"region":"champion","field_id":"champion-00","date":"2005-05-03","source":"override"}');
INSERT INTO "records" VALUES(11,'2005/champion-00/harvests/2005-07-20',2005,'harvests','2005-07-20','acknowledged','first',149,1,'2005-05-01T12:00:00Z',0,3888818915,NULL,'{"record_id":"2005/champion-00/harvests/2005-07-20","season":2005,"region":"champion","field_id":"champion-00","date":"2005-07-20","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(12,'2005/champion-00/harvests/2005-07-21',2005,'harvests','2005-07-21','stored',NULL,149,1,'2005-05-01T12:00:00Z',0,3075319919,NULL,'{"record_id":"2005/champion-00/harvests/2005-07-21","season":2005,"region":"champion","field_id":"champion-00","date":"2005-07-21","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(13,'2005/champion-00/harvests/2005-07-22',2005,'harvests','2005-07-22','stored',NULL,149,1,'2005-05-01T12:00:00Z',0,1187295227,NULL,'{"record_id":"2005/champion-00/harvests/2005-07-22","season":2005,"region":"champion","field_id":"champion-00","date":"2005-07-22","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(14,'2006/champion-00/fields',2006,'fields','2006-05-01','selected','second',523,2,'2006-05-01T12:00:00Z',1,1070055184,NULL,'{"record_id":"2006/champion-00/fields","season":2006,"region":"champion","field_id":"champion-00","device_id":"dev-00","crop":"maize","soil":"SandyLoam","planting_date":"2006-05-01","field_capacity_m3_m3":0.22,"wilting_point_m3_m3":0.1,"saturation_m3_m3":0.41,"root_depth_max_m":1.5,"initial_water_pct":null,"application_efficiency":1.0,"irrigation_capacity_mm":25.0,"water_allowance_mm":400.0,"grain_price_usd_t":180.0,"water_price_usd_mm":1.0,"nitrogen_price_usd_kg":1.0,"fixed_cost_usd_ha":1728.0,"practice":"fieldloop"}');
INSERT INTO "records" VALUES(15,'2006/champion-00/readings/2006-05-01',2006,'readings','2006-05-01','stored',NULL,145,2,'2006-05-01T12:00:00Z',1,2968502284,NULL,'{"record_id":"2006/champion-00/readings/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","rain_mm":0.0}');
INSERT INTO "records" VALUES(16,'2006/champion-00/recommendations/2006-05-01',2006,'recommendations','2006-05-01','stored',NULL,214,2,'2006-05-01T12:00:00Z',1,1577455186,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","yield_p10_t_ha":5.0,"yield_p90_t_ha":7.0,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(18,'2006/champion-00/readings/2006-05-02',2006,'readings','2006-05-02','selected','second',145,2,'2006-05-01T12:00:00Z',1,4214379806,'{"rain_mm":"flat"}','{"record_id":"2006/champion-00/readings/2006-05-02","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-02","rain_mm":0.5}');
INSERT INTO "records" VALUES(19,'2006/champion-00/recommendations/2006-05-02',2006,'recommendations','2006-05-02','selected','second',216,2,'2006-05-01T12:00:00Z',1,4263332377,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-02","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-02","yield_p10_t_ha":null,"yield_p90_t_ha":null,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(20,'2006/champion-00/operations/2006-05-02',2006,'operations','2006-05-02','selected','second',153,2,'2006-05-01T12:00:00Z',1,2775930318,NULL,'{"record_id":"2006/champion-00/operations/2006-05-02","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-02","source":"override"}');
INSERT INTO "records" VALUES(21,'2006/champion-00/readings/2006-05-03',2006,'readings','2006-05-03','stored',NULL,145,2,'2006-05-01T12:00:00Z',1,1325405234,NULL,'{"record_id":"2006/champion-00/readings/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","rain_mm":1.0}');
INSERT INTO "records" VALUES(22,'2006/champion-00/recommendations/2006-05-03',2006,'recommendations','2006-05-03','stored',NULL,216,2,'2006-05-01T12:00:00Z',1,482479614,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","yield_p10_t_ha":8.25,"yield_p90_t_ha":9.35,"said":"Größe und 100 % Wasser"}');
INSERT INTO "records" VALUES(24,'2006/champion-00/harvests/2006-07-20',2006,'harvests','2006-07-20','stored',NULL,149,2,'2006-05-01T12:00:00Z',1,1009724251,NULL,'{"record_id":"2006/champion-00/harvests/2006-07-20","season":2006,"region":"champion","field_id":"champion-00","date":"2006-07-20","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(25,'2006/champion-00/harvests/2006-07-21',2006,'harvests','2006-07-21','selected','second',149,2,'2006-05-01T12:00:00Z',1,1822960087,NULL,'{"record_id":"2006/champion-00/harvests/2006-07-21","season":2006,"region":"champion","field_id":"champion-00","date":"2006-07-21","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(26,'2006/champion-00/harvests/2006-07-22',2006,'harvests','2006-07-22','stored',NULL,149,2,'2006-05-01T12:00:00Z',1,2636197443,NULL,'{"record_id":"2006/champion-00/harvests/2006-07-22","season":2006,"region":"champion","field_id":"champion-00","date":"2006-07-22","yield_t_ha":11.0}');
INSERT INTO "records" VALUES(27,'2007/champion-00/fields',2007,'fields','2007-05-01','stored',NULL,523,2,'2006-05-01T12:00:00Z',1,1034812459,NULL,'{"record_id":"2007/champion-00/fields","season":2007,"region":"champion","field_id":"champion-00","device_id":"dev-00","crop":"maize","soil":"SandyLoam","planting_date":"2007-05-01","field_capacity_m3_m3":0.22,"wilting_point_m3_m3":0.1,"saturation_m3_m3":0.41,"root_depth_max_m":1.5,"initial_water_pct":null,"application_efficiency":1.0,"irrigation_capacity_mm":25.0,"water_allowance_mm":400.0,"grain_price_usd_t":180.0,"water_price_usd_mm":1.0,"nitrogen_price_usd_kg":1.0,"fixed_cost_usd_ha":1728.0,"practice":"fieldloop"}');
INSERT INTO "records" VALUES(28,'2006/champion-00/recommendations/2006-05-05',2006,'recommendations','2006-05-05','stored',NULL,4689,2,'2006-05-01T12:00:00Z',1,2049638194,NULL,'{"record_id":"2006/champion-00/recommendations/2006-05-05","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-05","why":"long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long ","yield_p10_t_ha":1.0,"yield_p90_t_ha":1.5}');
INSERT INTO "records" VALUES(29,'2006/champion-00/operations/2006-05-03',2006,'operations','2006-05-03','stored',NULL,174,2,'2006-05-01T12:00:00Z',1,4222598050,NULL,'{"record_id":"2006/champion-00/operations/2006-05-03","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-03","source":"override","irrigation_mm":12.5}');
INSERT INTO "records" VALUES(30,'2006/champion-00/operations/2006-05-01',2006,'operations','2006-05-01','stored',NULL,173,2,'2006-05-01T12:00:00Z',1,3794513489,NULL,'{"record_id":"2006/champion-00/operations/2006-05-01","season":2006,"region":"champion","field_id":"champion-00","date":"2006-05-01","source":"override","irrigation_mm":2.5}');
CREATE TABLE rejects (
        sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
        reject_id  TEXT UNIQUE NOT NULL,
        repeats    INTEGER NOT NULL DEFAULT 0,
        boot       INTEGER,
        stored_utc TEXT,
        crc        INTEGER NOT NULL,
        where_     TEXT NOT NULL,
        error      TEXT NOT NULL,
        body       TEXT NOT NULL
    );
INSERT INTO "rejects" VALUES(1,'9753caa7694b07040e17a95220c5fd190e01ef7c448c1390fea1de5028f3b530',1,2,'2006-05-01T12:00:00Z',728883225,'line 3','not JSON','{');
INSERT INTO "rejects" VALUES(3,'9598baa03ed6953b695bc185692dcb961da260a9175726d4cbfcaa074f1bbb4e',0,2,'2006-05-01T12:00:00Z',3486986614,'reading 2006-05-02','rain_mm is -4','…');
CREATE TABLE samples (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        origin   INTEGER NOT NULL,
        time_utc TEXT NOT NULL, -- by time as a text: 12:15:00Z, 12:15:00Z.5, 12:15:01Z
        body     TEXT NOT NULL,
        flags    TEXT NOT NULL,
        boot     INTEGER,
        crc      INTEGER NOT NULL,
        UNIQUE (time_utc, origin)
    );
INSERT INTO "samples" VALUES(1,1,'2006-05-01T12:15:00Z','{"rain_mm":0.2,"vwc":null}','',2,3005959750);
INSERT INTO "samples" VALUES(2,1,'2006-05-01T12:15:00Z.25','{"rain_mm":0.2,"vwc":null}','',2,470433279);
INSERT INTO "samples" VALUES(3,1,'2006-05-01T12:15:00Z.5','{"rain_mm":0.2,"vwc":null}','',2,730932689);
INSERT INTO "samples" VALUES(4,1,'2006-05-02T12:15:00Z','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,2792319856);
INSERT INTO "samples" VALUES(5,1,'2006-05-02T12:15:00Z.25','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,3991406711);
INSERT INTO "samples" VALUES(6,1,'2006-05-02T12:15:00Z.5','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,2195585101);
INSERT INTO "samples" VALUES(7,2,'2006-05-01T12:15:00Z','{"rain_mm":0.2,"vwc":null}','',2,159271505);
INSERT INTO "samples" VALUES(8,2,'2006-05-01T12:15:00Z.25','{"rain_mm":0.2,"vwc":null}','',2,2047797455);
INSERT INTO "samples" VALUES(9,2,'2006-05-01T12:15:00Z.5','{"rain_mm":0.2,"vwc":null}','',2,696246027);
INSERT INTO "samples" VALUES(10,2,'2006-05-02T12:15:00Z','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,324275721);
INSERT INTO "samples" VALUES(11,2,'2006-05-02T12:15:00Z.25','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,524889563);
INSERT INTO "samples" VALUES(12,2,'2006-05-02T12:15:00Z.5','{"rain_mm":0.4,"vwc":null}','{"rain_mm":"spike"}',2,1106778654);
CREATE INDEX records_by_season ON records (season, table_name, date);
CREATE INDEX records_by_batch ON records (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX events_by_kind ON events (kind);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('boots',2);
INSERT INTO "sqlite_sequence" VALUES('records',31);
INSERT INTO "sqlite_sequence" VALUES('batches',2);
INSERT INTO "sqlite_sequence" VALUES('events',5);
INSERT INTO "sqlite_sequence" VALUES('origins',2);
INSERT INTO "sqlite_sequence" VALUES('samples',12);
INSERT INTO "sqlite_sequence" VALUES('rejects',3);
COMMIT;
PRAGMA user_version = 3;
PRAGMA application_id = 1178927107;
PRAGMA journal_mode = WAL;
